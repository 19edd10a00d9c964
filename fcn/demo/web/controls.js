// Controls and keys, and what the page tells. The last of the scripts: here everything starts.

const strengthNow = () => Math.min(
  state.strengths[state.view], state.view === 'overlay' ? state.most : 1,
);

function showStrength() {
  overlay.value = strengthNow();
  overlay.setAttribute('aria-valuetext', percent(overlay.value));
  find('.fcn-overlay-text').textContent = percent(overlay.value);
}

function setStrength(value) {
  state.strengths[state.view] = value;
  if (state.view === 'overlay') state.most = 1;
  showStrength();
  paint();
}

function setCovered(value) {
  state.covered = covered.checked = value;
  paint();
}

function setView(view) {
  state.view = view;
  scale.hidden = view !== 'confidence';
  enableInks();
  showStrength();
  paint();
}

const thresholdText = (value) => (value ? `below ${percent(value)}` : 'off');

function setThreshold(value) {
  state.threshold = value;
  find('.fcn-unsure-text').textContent = thresholdText(value);
  paint();
}

// A group of radio buttons, and a way to its next one.
function listenToSwitch(selector, use) {
  const options = findAll(`${selector} input`);
  for (const option of options) option.addEventListener('change', () => use(option.value));
  return () => {
    const offered = options.filter((one) => !one.closest('[hidden]'));
    const next = offered[(offered.findIndex((one) => one.checked) + 1) % offered.length];
    next.checked = true;
    use(next.value);
    say(next.parentElement.textContent);
  };
}

// ---- keys

const nextView = listenToSwitch('.fcn-views', setView);
const nextComparison = listenToSwitch('.fcn-compare', setCompare);
const KEYS = {
  o: () => setCovered(!state.covered),
  v: nextView,
  c: nextComparison,
  n: () => step(1),
  p: () => step(-1),
  Escape: () => state.isolated !== null && isolate(state.isolated),
  '+': () => zoomAtCentre(1.5),
  '-': () => zoomAtCentre(1 / 1.5),
  0: resetZoom,
  '?': () => help.showModal(),
};
const PAN = { ArrowLeft: [40, 0], ArrowRight: [-40, 0], ArrowUp: [0, 40], ArrowDown: [0, -40] };

const TEXT = 'textarea, select, [contenteditable], input:not([type=radio], [type=checkbox],'
  + ' [type=range], [type=file])';

// Letters belong to whoever is writing, and to the viewer otherwise: or, for who speaks to a
// computer and would press them unawares, to the photo that has the focus.
function isOurs({ target, altKey, ctrlKey, metaKey }) {
  if (altKey || ctrlKey || metaKey || help.open || !figure.checkVisibility()) return false;
  return anywhere.checked ? !target.closest?.(TEXT) : stage.contains(target);
}

function listenToKeys(event) {
  if (!isOurs(event)) return;
  const pan = event.target === canvas && state.zoom.scale > 1 && PAN[event.key];
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  const act = pan ? () => panBy(...pan) : KEYS[key];
  if (!act) return;
  event.preventDefault();
  act();
}

// ---- wiring

listenToPointers();
dividers.forEach(listenToDivider);
onSlide(overlay, setStrength);
onSlide(find('.fcn-unsure'), setThreshold, thresholdText);
covered.addEventListener('change', () => setCovered(covered.checked));
palettes.addEventListener('change', () => setPalette(palettes.value));
filter.addEventListener('input', filterRows);
for (const [selector, act] of Object.entries({
  '.fcn-all': () => showAll(true),
  '.fcn-none': () => showAll(false),
  '.fcn-in': KEYS['+'],
  '.fcn-out': KEYS['-'],
  '.fcn-reset': resetZoom,
  '.fcn-keys': KEYS['?'],
  '.fcn-cancel': cancel,
  '.fcn-save-mask': saveMask,
  '.fcn-save-overlay': saveOverlay,
  '.fcn-save-json': saveSummary,
})) find(selector).addEventListener('click', act);
document.addEventListener('keydown', listenToKeys);
new ResizeObserver(place).observe(stage);
scale.style.setProperty('--ramp', RAMP.join());
const travel = [{ transform: 'translateX(-100%)' }, { transform: 'translateX(400%)' }];
bar.firstElementChild.animate(travel, { duration: 1400, iterations: Infinity });

// The page tells what only it knows: that a photo is on its way or cannot be, that one of several is
// to be seen, that another network is chosen, and that a run came to nothing.
figure.addEventListener('fcn-photo', ({ detail: photo }) => askForPhoto(photo));
figure.addEventListener('fcn-open', ({ detail: payload }) => open(payload));
figure.addEventListener('fcn-network', ({ detail: source }) => setNetwork(source));
figure.addEventListener('fcn-sent', () => (isSent = true));
figure.addEventListener('fcn-refused', ({ detail: message }) => refuse(message));
figure.addEventListener('fcn-failed', fail);
figure.addEventListener('fcn-strides-failed', failStrides);
watch('value', load);
setThreshold(0);
showStrength();
load();
keepOverReload('fcn-shown', ownResult, reopen);
