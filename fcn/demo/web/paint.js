// Pixels: decoding what the server sends, and the one loop that colours them.
//
// Every pixel of a layer has a slot, and every slot a table that says what each 8-bit red, green
// and blue of the photo turns into: shown = (1 - a) * ground + a * ink. An opacity slider changes
// tables only; the view and the threshold change slots.

const { longest: LONGEST_SIDE } = props; // a photo has to be made so before the server has it
const FADED = 0.2; // what is left of the ink where the network is unsure
const UNSURE = 256, CONFIDENCE = 512, BARE = 768; // where each kind of slot begins
const ENTRIES = 768; // of a table: 256 values for each of red, green and blue
const RAMP = ['#440154', '#3b528b', '#21918c', '#5ec962', '#fde725']; // unsure to sure
const tables = new Uint8ClampedArray((BARE + 1) * ENTRIES); // rounds what it is given

const rgb = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const rampStops = RAMP.map(rgb);

// The colour of a confidence from 0 to 1.
function rampColor(confidence) {
  const at = confidence * (rampStops.length - 1), low = Math.min(at | 0, rampStops.length - 2);
  return rampStops[low].map((value, i) => value + (at - low) * (rampStops[low + 1][i] - value));
}

async function get(file) {
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error(`${answer.status} for ${file.url}`);
  return answer;
}

// The pixels of a picture that is no longer than `LONGEST_SIDE`, or made so.
async function decode(file) {
  const answer = await get(file);
  const lossless = { premultiplyAlpha: 'none', colorSpaceConversion: 'none' };
  const bitmap = await createImageBitmap(await answer.blob(), lossless);
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * scale));
  const height = Math.max(1, Math.round(bitmap.height * scale));
  const draft = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  draft.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return draft.getImageData(0, 0, width, height);
}

// The values of a mask: a class id for each pixel, then a confidence in 255ths for each.
async function inflate(file) {
  const { body } = await get(file), whole = body.pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(whole).arrayBuffer());
}

// A way to read files that keeps what it read last: an answer may name the very upload that was
// shown while it was awaited, and what was on show can be shown again though the server, started
// anew, has lost it.
function keeping(most, read) {
  const kept = new Map(); // path -> promise
  return (file) => {
    if (!file) return null;
    if (!kept.has(file.path)) {
      const value = read(file);
      value.catch(() => kept.delete(file.path)); // the next try may have more luck
      kept.set(file.path, value);
      if (kept.size > most) kept.delete(kept.keys().next().value);
    }
    return kept.get(file.path);
  };
}
const photoOf = keeping(2, decode), maskOf = keeping(6, inflate);

// A segmentation of the photo at one stride.
function toLayer(values, { width, height }) {
  const pixels = width * height;
  return { width, height, ids: values.subarray(0, pixels), confidence: values.subarray(pixels),
    slots: new Uint16Array(pixels) };
}

// ---- slots

// Marks pixels that are near another class; both sides of a border are marked.
function edgesOf(layer) {
  const { ids, width, height } = layer, edges = new Uint8Array(ids.length);
  const reach = Math.max(1, Math.round(Math.max(width, height) / 800));
  for (let y = 0, i = 0; y < height; y++) {
    const up = y < reach ? 0 : reach * width, down = y + reach < height ? reach * width : 0;
    for (let x = 0; x < width; x++, i++) {
      const left = x < reach ? 0 : reach, right = x + reach < width ? reach : 0, id = ids[i];
      edges[i] = ids[i - left] !== id || ids[i + right] !== id
        || ids[i - up] !== id || ids[i + down] !== id;
    }
  }
  return edges;
}

const threshold = () => Math.round(255 * state.threshold);

// Whether the map of confidence leaves a class out. The background, which is not painted as a photo
// comes, is on it all the same: where nothing was found, it says how surely.
function isBare(one) {
  return state.isolated === null ? one.painted && !one.shown : one.id !== state.isolated;
}

function slotsOf(layer) {
  const mapped = state.view === 'confidence', outlined = state.view === 'outlines';
  const bare = mapped ? [...scene.classes.values()].filter(isBare).map(({ id }) => id) : [];
  const key = [state.view, threshold(), ...bare].join();
  if (layer.key === key) return layer.slots;
  const { ids, confidence, slots } = layer, unsure = threshold(), isOut = new Uint8Array(256);
  for (const id of bare) isOut[id] = 1;
  if (outlined) layer.edges ??= edgesOf(layer);
  for (let i = 0; i < ids.length; i++) {
    if (mapped) slots[i] = isOut[ids[i]] ? BARE : CONFIDENCE + confidence[i];
    else if (outlined && !layer.edges[i]) slots[i] = BARE;
    else slots[i] = confidence[i] < unsure ? UNSURE + ids[i] : ids[i];
  }
  layer.key = key;
  return slots;
}

// ---- tables

function setTable(slot, ground, ink, alpha) {
  for (let entry = 0, at = slot * ENTRIES; entry < ENTRIES; entry++, at++) {
    tables[at] = (1 - alpha) * ground * (entry % 256) + alpha * ink[entry >> 8];
  }
}

// The opacity of a class, all but the overlay's own.
function weightOf(one) {
  if (state.isolated !== null) return one.id === state.isolated ? one.opacity : 0;
  return one.shown ? one.opacity : 0;
}

function setTables() {
  const strength = state.covered ? strengthNow() : 0;
  const ground = state.covered && state.view === 'colours' ? 0 : 1; // black, or the photo
  setTable(BARE, ground, [0, 0, 0], 0);
  if (state.view === 'confidence') {
    for (let value = 0; value < 256; value++) {
      const alpha = value < threshold() ? strength * FADED : strength;
      setTable(CONFIDENCE + value, ground, rampColor(value / 255), alpha);
    }
    return;
  }
  for (const one of scene.classes.values()) {
    const alpha = strength * weightOf(one), ink = rgb(colorOf(one));
    setTable(one.id, ground, ink, alpha);
    setTable(UNSURE + one.id, ground, ink, alpha * FADED);
  }
}

// ---- the canvas

// Colours the columns from `start` to `stop`; without a layer they are the photo's own.
function paintStrip({ start, stop, layer }) {
  const from = scene.photo.data, to = scene.shown.data, { width, height } = scene.photo;
  const slots = layer && slotsOf(layer);
  for (let row = 0; row < height * width; row += width) {
    if (!slots) {
      to.set(from.subarray(4 * (row + start), 4 * (row + stop)), 4 * (row + start));
      continue;
    }
    for (let i = row + start, p = 4 * i; i < row + stop; i++, p += 4) {
      const table = slots[i] * ENTRIES;
      to[p] = tables[table + from[p]];
      to[p + 1] = tables[table + 256 + from[p + 1]];
      to[p + 2] = tables[table + 512 + from[p + 2]];
    }
  }
}

function paint() {
  if (!scene) return;
  setTables();
  for (const strip of strips()) if (strip.start < strip.stop) paintStrip(strip);
  pen.putImageData(scene.shown, 0, 0);
}
