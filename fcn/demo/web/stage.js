// The stage: the pointer and what is under it, zoom and pan, and the dividers of a comparison.
//
// The canvas has the photo's own pixels and is zoomed by a CSS transform. A divider stands at a
// fraction of the part of the canvas that is in sight, so that it never leaves the stage.

const DEEPEST = 16; // zoom
const COMPARISONS = { off: [], photo: ['Photo', 'Segments'], strides: [] };
const SKIPS = { 2: 'no and one skip connection', 3: 'no, one and two skip connections' };
let strides = []; // that the network was trained at, coarse to fine: what can be compared
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// ---- what is under the pointer

function pixelAt(event) {
  const place = canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - place.left) / place.width) * canvas.width);
  const y = Math.floor(((event.clientY - place.top) / place.height) * canvas.height);
  return { x: clamp(x, 0, canvas.width - 1), y: clamp(y, 0, canvas.height - 1) };
}

function classAt(event) {
  const { x, y } = pixelAt(event), pixel = y * canvas.width + x;
  const { layer } = strips().find(({ stop }) => x < stop);
  const { ids, confidence } = layer ?? scene.main;
  return { ...scene.classes.get(ids[pixel]), sure: confidence[pixel] / 255 };
}

function pointAt(event) {
  tip.hidden = !scene?.main;
  if (tip.hidden) return;
  const { id, name, sure } = classAt(event);
  highlight(id);
  tip.textContent = `${name} · ${percent(sure)} sure`;
  const place = stage.getBoundingClientRect();
  const x = Math.min(event.clientX - place.left + 14, place.width - tip.offsetWidth - 4);
  const y = Math.min(event.clientY - place.top + 18, place.height - tip.offsetHeight - 4);
  tip.style.transform = `translate(${x}px, ${y}px)`;
}

function pointAway() {
  tip.hidden = true;
  highlight(null);
}

// ---- zoom and pan

// Where an axis of the canvas may be: centred if there is room, and else without a gap.
function bounded(shift, offset, size, room) {
  if (size <= room) return (room - size) / 2 - offset;
  return clamp(offset + shift, room - size, 0) - offset;
}

function place() {
  if (!stage.clientWidth) return; // behind another tab
  const { zoom } = state, { offsetLeft, offsetTop, offsetWidth, offsetHeight } = canvas;
  zoom.x = bounded(zoom.x, offsetLeft, offsetWidth * zoom.scale, stage.clientWidth);
  zoom.y = bounded(zoom.y, offsetTop, offsetHeight * zoom.scale, stage.clientHeight);
  if (zoom.scale === 1) zoom.x = zoom.y = 0; // offsets are rounded, the layout is not
  canvas.style.transform = `translate(${zoom.x}px, ${zoom.y}px) scale(${zoom.scale})`;
  canvas.classList.toggle('is-zoomed', zoom.scale > 1);
  canvas.classList.toggle('is-coarse', offsetWidth * zoom.scale > 3 * canvas.width);
  const left = zoom.scale === 1 && document.activeElement?.matches('.fcn-reset, .fcn-out');
  if (left) canvas.focus({ preventScroll: true }); // the button that had it is of no use now
  find('.fcn-reset').disabled = find('.fcn-out').disabled = zoom.scale === 1;
  placeDividers();
  if (state.compare !== 'off') paint();
}

// Zooms so that the point of the photo at (x, y) in the window stays there.
function zoomBy(factor, x, y) {
  if (!scene) return;
  const { zoom } = state, box = stage.getBoundingClientRect();
  const scale = clamp(zoom.scale * factor, 1, DEEPEST), grown = scale / zoom.scale;
  const [left, top] = [x - box.left - canvas.offsetLeft, y - box.top - canvas.offsetTop];
  state.zoom = { scale, x: left - (left - zoom.x) * grown, y: top - (top - zoom.y) * grown };
  place();
}

function zoomAtCentre(factor) {
  const box = stage.getBoundingClientRect();
  zoomBy(factor, box.left + box.width / 2, box.top + box.height / 2);
}

function panBy(x, y) {
  state.zoom.x += x;
  state.zoom.y += y;
  place();
}

function resetZoom() {
  state.zoom = { scale: 1, x: 0, y: 0 };
  place();
}

// ---- fingers: one points or pans, two pinch

const fingers = new Map(); // pointer id -> where it is
let travelled = 0; // pixels since the first finger came down; a click has hardly any

function fingerDown(event) {
  if (event.button !== 0) return; // a mouse has others
  if (!fingers.size) travelled = 0;
  fingers.set(event.pointerId, event);
  pointAt(event);
}

function fingerMove(event) {
  // Who let go over a menu did so unheard.
  if (!(event.buttons & 1)) fingers.delete(event.pointerId);
  const before = fingers.get(event.pointerId);
  if (before) {
    const [x, y] = [event.clientX - before.clientX, event.clientY - before.clientY];
    travelled += Math.hypot(x, y);
    if (travelled > 4) canvas.setPointerCapture(event.pointerId);
    if (fingers.size === 2) pinch(event, before);
    else if (state.zoom.scale > 1) panBy(x, y);
    fingers.set(event.pointerId, event);
  }
  pointAt(event);
}

function pinch(event, before) {
  const other = [...fingers.values()].find((one) => one.pointerId !== event.pointerId);
  const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  const middle = (axis) => (event[axis] + other[axis]) / 2;
  zoomBy(apart(event) / Math.max(apart(before), 1), middle('clientX'), middle('clientY'));
}

function fingerUp(event) {
  fingers.delete(event.pointerId);
  // After a touch its words stay, or nobody would see them from under the finger.
  if (event.type !== 'pointerup' && event.pointerType !== 'touch') pointAway();
}

// A plain wheel scrolls the page past a photo that is not zoomed; a trackpad's pinch has Ctrl.
function wheel(event) {
  const { scale } = state.zoom, begins = event.ctrlKey || event.metaKey;
  const factor = Math.exp(-clamp(event.deltaY, -100, 100) / 300);
  if (!scene || (scale === 1 && !begins)) return;
  if (clamp(scale * factor, 1, DEEPEST) === scale) return; // nor is it ours at an end
  event.preventDefault();
  zoomBy(factor, event.clientX, event.clientY);
}

function listenToPointers() {
  canvas.addEventListener('pointerdown', fingerDown);
  canvas.addEventListener('pointermove', fingerMove);
  for (const end of ['pointerup', 'pointercancel', 'pointerleave']) {
    canvas.addEventListener(end, fingerUp);
  }
  canvas.addEventListener('click', (event) => {
    if (scene?.main && travelled <= 4) isolate(classAt(event).id);
  });
  canvas.addEventListener('dblclick', ({ clientX, clientY }) => {
    if (state.zoom.scale < DEEPEST) zoomBy(2, clientX, clientY);
    else resetZoom();
  });
  canvas.addEventListener('wheel', wheel, { passive: false });
}

// ---- comparison

// The left and right end of what is in sight of the canvas, in pixels of the stage.
function inSight() {
  const box = stage.getBoundingClientRect(), place = canvas.getBoundingClientRect();
  const left = place.left - box.left;
  return { left, width: place.width, from: Math.max(0, left),
    to: Math.min(box.width, left + place.width) };
}

// What each part of the canvas shows: columns from `start` to `stop`, and a layer or the photo.
function strips() {
  const { width } = scene.photo, { left, width: shown, from, to } = inSight();
  const column = (split) => Math.round(((from + split * (to - from) - left) / shown) * width);
  const bounds = [0, ...(state.splits[state.compare] ?? []).map(column), width];
  const layers = {
    off: [scene.main],
    photo: [null, scene.main],
    strides: strides.map((stride) => scene.layers[stride] ?? scene.main),
  }[state.compare];
  return layers.map((layer, i) => ({ start: bounds[i], stop: bounds[i + 1], layer }));
}

function placeDividers() {
  const names = scene?.main ? COMPARISONS[state.compare] : [];
  const splits = names.length ? state.splits[state.compare] : [];
  const { from, to } = inSight(), at = (fraction) => from + fraction * (to - from);
  const ends = [0, ...splits, 1];
  dividers.forEach((divider, i) => {
    divider.hidden = i >= splits.length;
    if (divider.hidden) return;
    divider.style.left = `${at(splits[i])}px`;
    divider.setAttribute('aria-valuenow', Math.round(100 * splits[i]));
    divider.setAttribute('aria-label', `Divider between ${names[i]} and ${names[i + 1]}`);
  });
  chips.forEach((chip, i) => {
    chip.hidden = i >= names.length;
    if (chip.hidden) return;
    chip.textContent = names[i];
    const half = chip.offsetWidth / 2; // its middle is placed, and all of it is to be seen
    chip.style.left = `${clamp(at((ends[i] + ends[i + 1]) / 2), from + half, to - half)}px`;
  });
}

// A divider pushes the other one along, or two at one end would lock each other in.
function setSplit(i, fraction) {
  const splits = state.splits[state.compare], own = clamp(fraction, 0, 1);
  splits.forEach((other, j) => {
    splits[j] = j < i ? Math.min(other, own) : Math.max(other, own);
  });
  splits[i] = own;
  placeDividers();
  paint();
}

function listenToDivider(divider, i) {
  divider.addEventListener('pointerdown', ({ pointerId }) => divider.setPointerCapture(pointerId));
  divider.addEventListener('pointermove', (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const { from, to } = inSight(), x = event.clientX - stage.getBoundingClientRect().left;
    setSplit(i, (x - from) / (to - from));
  });
  divider.addEventListener('keydown', (event) => {
    const now = state.splits[state.compare][i];
    const less = now - 0.02, more = now + 0.02;
    const next = { ArrowLeft: less, ArrowDown: less, ArrowRight: more, ArrowUp: more,
      Home: 0, End: 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    setSplit(i, next);
  });
}

// A network of stride 32 has nothing to compare.
function offerStrides(trained) {
  if (trained.join() === strides.join()) return;
  strides = trained;
  COMPARISONS.strides = strides.map((stride) => `FCN-${stride}s`);
  state.splits.strides = strides.slice(1).map((_, i) => (i + 1) / strides.length);
  const option = find('.fcn-compare [value=strides]'), label = option.parentElement;
  label.querySelector('span').textContent = strides.map((stride) => `${stride}s`).join(' ');
  label.title = `The same weights with ${SKIPS[strides.length]}`;
  label.hidden = strides.length < 2;
  if (label.hidden && option.checked) find('.fcn-compare [value=off]').click();
}

function setCompare(compare) {
  state.compare = compare;
  if (scene?.main) status.textContent = scene.payload.message;
  placeDividers();
  paint();
  askForStrides();
}

// The coarser strides are asked for once a photo, and only by those who look at them.
function askForStrides() {
  if (state.compare !== 'strides' || !scene?.main || scene.asked) return;
  scene.asked = true;
  setBusy(true);
  const coarser = strides.slice(0, -1);
  status.textContent = `Segmenting at stride${coarser[1] ? 's' : ''} ${coarser.join(' and ')}…`;
  props.value = scene.payload; // an answer about another photo may have come since
  trigger('strides');
}
