// The live overlay. Gradio runs this file as the body of a function of (element, props, watch).
//
// The browser holds the photo's pixels and an indexed mask (red: class id, green: confidence) and
// recolours one canvas, so that no slider asks the server for anything. Whatever came with the
// photo, class names above all, is shown as text and never as markup.

const find = (selector) => element.querySelector(selector);
const figure = find('figure'), stage = find('.fcn-stage'), canvas = find('canvas');
const bar = find('.fcn-bar'), tip = find('.fcn-tip'), rows = find('.fcn-rows');
const status = find('.fcn-status'), caution = find('.fcn-caution');
const overlay = find('.fcn-overlay'), overlayText = find('.fcn-overlay-text');
const pen = canvas.getContext('2d', { willReadFrequently: true });

const LONGEST_SIDE = 1600; // the server's limit too, which a photo still has to go through
const EMPTY = { state: 'empty', message: 'Choose a photo to see its segments.' };
const FAILED = { state: 'failed', message: 'The photo could not be segmented. Please try again.' };
const seen = new Map(); // class name -> its entry in the newest legend that had it: choices last
let opacity = +overlay.value; // the visitor's own choice, kept when a photo asks for less
let showOthers = null; // what "all" and "none" say about classes that were not seen yet
let scene = null; // the pixels on the canvas, and the classes in them
let turn = 0; // counts payloads, so that a slow one never replaces a newer one

const percent = (fraction, digits = 0) => `${(100 * fraction).toFixed(digits)} %`;
const shareText = (share) => (share < 0.0005 ? '< 0.1 %' : percent(share, 1));

// ---- pixels

async function pixels(file) {
  if (!file) return null;
  const answer = await fetch(file.url);
  if (!answer.ok) throw new Error(`${answer.status} for ${file.url}`);
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

function channel(image, offset) {
  const values = new Uint8Array(image.width * image.height);
  for (let i = 0; i < values.length; i++) values[i] = image.data[4 * i + offset];
  return values;
}

// For every class, what each 8-bit value of red, green and blue turns into: 3 x 256 values.
function blendTables(classes) {
  const tables = new Uint8ClampedArray(256 * 768); // rounds what it is given
  for (const { id, color, opacity, shown } of classes) {
    const alpha = shown ? overlay.value * opacity : 0;
    for (let entry = 0; entry < 768; entry++) {
      tables[id * 768 + entry] = (1 - alpha) * (entry % 256) + alpha * color[entry >> 8];
    }
  }
  return tables;
}

function paint() {
  if (!scene) return;
  const started = performance.now();
  const { photo, shown, ids, classes } = scene;
  if (ids) {
    const from = photo.data, to = shown.data, tables = blendTables(classes);
    for (let i = 0, p = 0; i < ids.length; i++, p += 4) {
      const table = ids[i] * 768;
      to[p] = tables[table + from[p]];
      to[p + 1] = tables[table + 256 + from[p + 1]];
      to[p + 2] = tables[table + 512 + from[p + 2]];
    }
  }
  pen.putImageData(shown, 0, 0);
  element.dataset.drawMs = (performance.now() - started).toFixed(2);
  element.dataset.draws = 1 + +(element.dataset.draws ?? 0);
}

// ---- legend

function make(tag, className, properties = {}) {
  const node = document.createElement(tag);
  node.className = className;
  return Object.assign(node, properties);
}

function onSlide(input, use) {
  const tell = () => input.setAttribute('aria-valuetext', percent(input.value));
  input.addEventListener('input', () => {
    use(+input.value);
    tell();
    paint();
  });
  tell();
}

function slider(one) {
  const input = make('input', 'fcn-range', { type: 'range', min: 0, max: 1, step: 0.01 });
  input.value = one.opacity;
  input.setAttribute('aria-label', `${one.name} opacity`);
  onSlide(input, (value) => (one.opacity = value));
  return input;
}

function box(one) {
  const input = make('input', 'fcn-box', { type: 'checkbox', checked: one.shown });
  input.setAttribute('aria-label', `Show ${one.name}`);
  input.addEventListener('change', () => {
    one.shown = input.checked;
    paint();
  });
  one.box = input;
  return input;
}

function row(one) {
  const line = make('li', 'fcn-row'), label = make('label', 'fcn-class');
  const swatch = make('span', 'fcn-swatch');
  swatch.style.background = `rgb(${one.color.join()})`;
  label.append(box(one), swatch);
  label.append(make('span', 'fcn-name', { textContent: one.name, title: one.name }));
  line.append(label, make('span', 'fcn-share', { textContent: shareText(one.share) }), slider(one));
  return line;
}

function showAll(shown) {
  showOthers = shown;
  for (const one of seen.values()) one.shown = one.box.checked = shown;
  paint();
}

function withChoices(one) {
  const usual = { opacity: 1, shown: showOthers ?? one.painted };
  const { opacity, shown } = seen.get(one.name) ?? usual;
  const entry = { ...one, opacity, shown };
  seen.set(one.name, entry);
  return entry;
}

// ---- what there is to show

function describe(classes) {
  if (!classes.length) return 'The photo, not segmented';
  const parts = classes.map((one) => `${one.name} ${shareText(one.share)}`);
  return `The photo under its segments: ${parts.join(', ')}`;
}

function tell(payload) {
  figure.dataset.state = payload.state;
  figure.setAttribute('aria-busy', payload.state === 'busy');
  bar.hidden = payload.state !== 'busy';
  status.textContent = payload.message;
  caution.textContent = payload.caution ?? '';
}

function clear() {
  scene = null;
  tip.hidden = true;
  canvas.width = canvas.height = 1;
  canvas.setAttribute('aria-label', 'No photo');
  rows.style.minHeight = `${rows.offsetHeight}px`; // what is below the legend stays where it is
  rows.replaceChildren();
}

function setOverlay(value) {
  overlay.value = value;
  overlayText.textContent = percent(value);
}

function put(photo, mask, { classes = [], opacity: most = 1 }) {
  const shown = new ImageData(photo.data.slice(), photo.width, photo.height);
  scene = { photo, shown, classes: classes.map(withChoices) };
  if (mask) {
    scene.ids = channel(mask, 0);
    scene.confidence = channel(mask, 1);
    setOverlay(Math.min(opacity, most));
    rows.style.minHeight = '';
    rows.replaceChildren(...scene.classes.map(row));
  }
  canvas.width = photo.width;
  canvas.height = photo.height;
  canvas.setAttribute('aria-label', describe(classes));
  stage.style.setProperty('--aspect', photo.width / photo.height);
  paint();
}

async function show(payload) {
  const mine = ++turn;
  if (!payload.mask) {
    clear();
    tell(payload);
  }
  try {
    const [photo, mask] = await Promise.all([pixels(payload.photo), pixels(payload.mask)]);
    if (mine !== turn) return;
    if (photo) put(photo, mask, payload);
    tell(payload);
    element.dataset.ready = mine;
  } catch {
    // A photo that the browser cannot read may be one that the server can.
    if (mine === turn && payload.state !== 'busy') show(FAILED);
  }
}

// The server takes a bad photo away; the sentence about it stays.
function showNothing() {
  if (figure.dataset.state !== 'failed') show(EMPTY);
}

// ---- the pointer

function pixelUnder(event) {
  const place = canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - place.left) / place.width) * canvas.width);
  const y = Math.floor(((event.clientY - place.top) / place.height) * canvas.height);
  return Math.min(y, canvas.height - 1) * canvas.width + Math.min(x, canvas.width - 1);
}

function pointAt(event) {
  tip.hidden = !scene?.ids;
  if (tip.hidden) return;
  const pixel = pixelUnder(event);
  const { name } = scene.classes.find((one) => one.id === scene.ids[pixel]);
  tip.textContent = `${name} · ${percent(scene.confidence[pixel] / 255)} sure`;
  const place = stage.getBoundingClientRect();
  const x = Math.min(event.clientX - place.left + 14, place.width - tip.offsetWidth - 4);
  const y = Math.min(event.clientY - place.top + 18, place.height - tip.offsetHeight - 4);
  tip.style.transform = `translate(${x}px, ${y}px)`;
}

canvas.addEventListener('pointermove', pointAt);
canvas.addEventListener('pointerleave', () => (tip.hidden = true));
onSlide(overlay, (value) => setOverlay((opacity = value)));
find('.fcn-all').addEventListener('click', () => showAll(true));
find('.fcn-none').addEventListener('click', () => showAll(false));
const travel = [{ transform: 'translateX(-100%)' }, { transform: 'translateX(400%)' }];
bar.firstElementChild.animate(travel, { duration: 1400, iterations: Infinity });

// The page tells what only it knows: that a photo is on its way, and that a run came to nothing.
figure.addEventListener('fcn-photo', ({ detail: photo }) => {
  if (photo) show({ state: 'busy', photo, message: 'Segmenting…' });
  else showNothing();
});
figure.addEventListener('fcn-failed', () => show(FAILED));
const load = () => (props.value ? show(props.value) : showNothing());
watch('value', load);
setOverlay(opacity);
load();
