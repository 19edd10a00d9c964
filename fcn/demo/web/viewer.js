// The live overlay: its state, and the photos that come and go. Gradio runs keep.js, this file,
// paint.js, legend.js, stage.js, save.js and controls.js as one function body of (element, trigger,
// props, watch).
//
// The browser holds the photo's pixels, a class id and a confidence for each of them, and
// recolours one canvas, so that no control but the comparison of strides asks the server for
// anything. Whatever came with the photo, class names above all, is shown as text and never as
// markup.

const find = (selector) => element.querySelector(selector);
const findAll = (selector) => [...element.querySelectorAll(selector)];
const figure = find('figure'), stage = find('.fcn-stage'), canvas = find('canvas');
const bar = find('.fcn-bar'), tip = find('.fcn-tip'), help = find('dialog');
const status = find('.fcn-status'), caution = find('.fcn-caution'), spoken = find('.fcn-spoken');
const overlay = find('.fcn-overlay'), covered = find('.fcn-covered'), scale = find('.fcn-scale');
const rows = find('tbody'), filter = find('.fcn-filter'), palettes = find('.fcn-palettes');
const anywhere = find('.fcn-anywhere');
const dividers = findAll('.fcn-divider'), chips = findAll('.fcn-chip');
const pen = canvas.getContext('2d', { willReadFrequently: true });

const EMPTY = { state: 'empty', message: 'Choose a photo to see its segments.' };
const CANCELLED = { state: 'failed', message: 'Cancelled. Choose a photo to see its segments.' };
const GONE = {
  state: 'failed',
  message: 'This result could not be fetched: choose the photo again.',
};
const UNSENT = 'That photo could not be uploaded';
const LOST = { state: 'failed', message: 'The page was reloaded: choose the photo again.' };
const FAILED = { state: 'failed', message: 'The photo could not be segmented. Please try again.' };

// All that a visitor can set, but for the choices of classes (see legend.js). It outlives the
// photo, but for the zoom and the last two.
const state = {
  view: 'overlay',
  strengths: { overlay: 0.6, colours: 1, outlines: 1, confidence: 1 }, // opacity in each view
  covered: true, // false: the photo alone
  threshold: 0, // confidence below which pixels are faded
  palette: 'safe',
  compare: 'off',
  splits: { photo: [1 / 2], strides: [] },
  zoom: { scale: 1, x: 0, y: 0 },
  isolated: null, // class id
  pointed: null, // class id
  most: 1, // opacity that a doubtful photo asks for, until the visitor says otherwise
};
let scene = null; // the photo, its layers, and the classes in them
let awaited = null; // path of the photo whose segments the server is asked for
let question = 'segment'; // the event that asks; 'again' if another network is to answer
let subject = null; // what was shown of the photo that another network is asked about
let network = null; // source of the network that was chosen, if one was
let isSent = false; // a file is on its way, of which Gradio says nothing yet
let isCancelling = false; // Gradio calls a cancelled run a failed one
let result = null; // the payload that is shown, or whose pixels are on their way
const opening = props.value; // what the page opens with
let turn = 0; // counts payloads, so that a slow one never replaces a newer one

const say = (words) => (spoken.textContent = words);

// ---- what there is to show

function describe(found) {
  if (!found.length) return 'The photo, not segmented';
  const parts = found.map((one) => `${one.name} ${shareText(one.share)}`);
  return `The photo under its segments: ${parts.join(', ')}`;
}

function setBusy(busy) {
  figure.setAttribute('aria-busy', busy);
  bar.hidden = !busy;
}

function tell(payload) {
  figure.dataset.state = payload.state;
  setBusy(payload.state === 'busy');
  find('.fcn-cancel').hidden = payload.state !== 'busy';
  for (const button of findAll('.fcn-save button')) button.disabled = payload.state !== 'done';
  find('.fcn-size').hidden = payload.state !== 'done';
  status.textContent = payload.message;
  find('.fcn-blank').textContent = payload.photo ? '' : payload.message;
  caution.textContent = payload.caution ?? '';
}

function clear() {
  scene = null;
  pointAway();
  canvas.width = canvas.height = 1;
  canvas.setAttribute('aria-label', 'No photo');
  rowOf.clear();
  rows.replaceChildren();
  resetZoom();
}

function put(photo, mask, payload) {
  const { classes: found = [], opacity = 1 } = payload;
  const shown = new ImageData(photo.data.slice(), photo.width, photo.height);
  const main = mask && toLayer(mask, photo);
  const classes = new Map(found.map((one) => [one.id, withChoices(one)]));
  scene = { photo, shown, main, classes, found, payload, layers: {} }; // by coarser stride
  canvas.width = photo.width;
  canvas.height = photo.height;
  canvas.setAttribute('aria-label', describe(found));
  stage.style.setProperty('--aspect', photo.width / photo.height);
  if (main) {
    if (!classes.has(state.isolated)) state.isolated = null;
    state.most = opacity;
    offerStrides(payload.trained);
    setLegend([...classes.values()]);
    showStrength();
    find('.fcn-size').textContent = `${photo.width} × ${photo.height}`;
  }
  resetZoom();
  paint();
}

async function addStrides({ run, strides }) {
  if (result) props.value = result;
  const masks = await Promise.all(Object.values(strides).map(({ mask }) => maskOf(mask)));
  if (scene?.payload.run !== run) return;
  Object.entries(strides).forEach(([stride, { classes }], i) => {
    scene.layers[stride] = toLayer(masks[i], scene.photo);
    for (const one of classes) {
      if (!scene.classes.has(one.id)) scene.classes.set(one.id, withChoices(one));
    }
  });
  setBusy(false);
  status.textContent = scene.payload.message;
  paint();
  element.dataset.strides = run;
}

async function show(payload) {
  const mine = ++turn;
  result = payload.mask ? payload : null;
  if (result) {
    setBusy(true);
    find('.fcn-rows').style.setProperty('--rows', payload.classes.length);
  }
  if (!payload.mask) {
    clear();
    tell(payload);
  }
  try {
    const [photo, mask] = await Promise.all([photoOf(payload.photo), maskOf(payload.mask)]);
    if (mine !== turn) return;
    if (photo) put(photo, mask, payload);
    tell(payload);
    if (result && document.querySelector('#lesson')?.checkVisibility()) trigger('lesson');
    askForStrides();
  } catch {
    // A photo that the browser cannot read may be one that the server can.
    if (mine === turn && payload.state !== 'busy') show(payload.mask ? GONE : FAILED);
  }
}

// A bad photo is taken away; the sentence about it stays.
function showNothing() {
  if (figure.dataset.state !== 'failed') show(EMPTY);
}

function ask(event, photo, path = photo.path) {
  question = event;
  awaited = path;
  show({ state: 'busy', photo, message: 'Segmenting…' });
  stage.scrollIntoView({ block: 'nearest' }); // a phone has it above the input
  trigger(event);
}

// Gradio tells of some photos twice; and where an upload fails, it lets go of the one before.
function askForPhoto(photo) {
  const isLost = isSent && !photo;
  isSent = false;
  if (photo && photo.path === awaited) return;
  awaited = null;
  if (photo) ask('segment', photo);
  else if (!isLost) leavePhoto();
  else if (result) status.textContent = `${UNSENT}: the previous result is shown.`;
  else show({ state: 'failed', message: `${UNSENT}: choose it again.` });
}

// With the photo the button went that took it away, and it may have had the focus.
function leavePhoto() {
  props.value = null; // the lesson would tell of it
  showNothing();
  requestAnimationFrame(() => {
    if (document.activeElement !== document.body) return;
    document.querySelector('#photo [aria-label="Upload file"]')?.focus({ preventScroll: true });
  });
}

// Shows a result, or asks for the same photo again if the chosen network has not seen it.
function open(payload) {
  awaited = null;
  props.value = subject = payload; // so that the server knows it when asked about it
  if (network === null || payload.weights === network) show(payload);
  else ask('again', payload.photo, payload.of ?? payload.photo.path);
}

function setNetwork(source) {
  network = source;
  state.isolated = null; // ids mean other classes now
  if (awaited) {
    if (question === 'again') props.value = subject; // strides may have come since
    trigger(question);
  } else if (result) open(result);
}

// What was asked before the visitor chose another photo or network is not shown any more.
function isAnswer({ run, of, weights }) {
  if (run === opening?.run) return turn <= 1; // Gradio may tell of it again, after something else
  return of === undefined || (of === awaited && (network === null || weights === network));
}

// The other network came to nothing, or all did: what the one before found is still here.
function goBack(words) {
  network = subject.weights;
  const told = new CustomEvent('fcn-back', { detail: network });
  document.querySelector('#chooser fieldset')?.dispatchEvent(told); // if there are several
  props.value = subject;
  show(subject).then(() => {
    if (result === subject) status.textContent = `${words}: the previous result is shown.`;
  });
}

function cancel() {
  isCancelling = true;
  awaited = null;
  trigger('cancel');
  stage.focus({ preventScroll: true }); // the button that had it is gone
  if (question === 'again') {
    goBack('Cancelled');
    return;
  }
  show(CANCELLED);
  trigger('forget');
}

function load() {
  const payload = props.value;
  isCancelling = false;
  if (!payload) showNothing();
  else if (payload.strides) addStrides(payload).catch(failStrides);
  else if (isAnswer(payload)) {
    awaited = null;
    show(payload);
    // The input lets go of a bad photo, so that it can be given again.
    if (payload.state === 'failed' && question === 'segment') trigger('forget');
  } else if (result && payload.run !== result.run) props.value = result; // the lesson asks of it
}

function fail() {
  if (isCancelling) setTimeout(() => (isCancelling = false)); // Gradio says it twice
  else if (awaited && question === 'again') {
    awaited = null;
    goBack('That did not work');
  } else if (awaited) {
    awaited = null;
    show(FAILED);
    trigger('forget'); // or the input would not take the same photo again
  }
}

// While a photo is awaited it is what was shown before; what the page opens with comes by itself.
function ownResult() {
  const payload = result ?? (awaited && props.value);
  if (payload?.mask && payload.run !== opening?.run) return payload;
  return awaited && question === 'segment' ? LOST : null;
}

async function reopen(payload) {
  await Promise.all([photoOf(payload.photo), maskOf(payload.mask)]);
  if (awaited || (result && result.run !== opening?.run)) return; // the visitor was faster
  subject = payload;
  if (payload.mask) goBack('The page was reloaded');
  else show(payload);
}

// A file that is not even sent, or a camera that cannot be had.
function refuse(message) {
  awaited = null;
  show({ state: 'failed', message });
  trigger('forget');
}

// Another photo may be on its way since they were asked for: that one goes on.
function failStrides() {
  if (!scene?.asked) return;
  setBusy(false);
  status.textContent = 'The other strides could not be computed.';
  scene.asked = false;
}
