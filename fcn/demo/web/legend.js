// The legend: a row for each class, with its colour, share, confidence and opacity.
//
// What a visitor chooses for a class is kept by its name, and so outlives the photo. Names are
// only ever set as text.

const UNFILTERED = 20; // rows up to which nobody needs a filter
const choices = new Map(); // class name -> { opacity, shown, painted }
const rowOf = new Map(); // class id -> its row in the legend
let showOthers = true; // what "all" and "none" say about classes that were not seen yet

const percent = (fraction, digits = 0) => `${(100 * fraction).toFixed(digits)} %`;
const shareText = (share) => (share < 0.0005 ? '< 0.1 %' : percent(share, 1));
const colorOf = (one) => (state.palette === 'safe' && one.safe) || one.color;

function make(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), { className, ...properties });
}

// An entry of the server's list, with the visitor's choices in it.
function withChoices(one) {
  const { painted } = one, usual = { opacity: 1, shown: showOthers && painted, painted };
  if (!choices.has(one.name)) choices.set(one.name, usual);
  return Object.setPrototypeOf({ ...one }, choices.get(one.name));
}

function choose(one, choice) {
  Object.assign(choices.get(one.name), choice);
  paint();
}

function onSlide(input, use, text = percent) {
  const tell = () => input.setAttribute('aria-valuetext', text(+input.value));
  input.addEventListener('input', () => {
    use(+input.value);
    tell();
  });
  tell();
}

function opacitySlider(one) {
  const input = make('input', 'fcn-range', { type: 'range', min: 0, max: 1, step: 0.01 });
  input.value = one.opacity;
  input.setAttribute('aria-label', `${one.name} opacity`);
  onSlide(input, (opacity) => choose(one, { opacity }));
  return input;
}

function swatch(one) {
  const input = make('input', 'fcn-swatch', { type: 'checkbox', checked: one.shown });
  input.style.setProperty('--ink', colorOf(one));
  input.setAttribute('aria-label', `Show ${one.name}`);
  input.addEventListener('change', () => choose(one, { shown: input.checked }));
  return input;
}

function nameButton(one) {
  const button = make('button', 'fcn-name', { type: 'button', textContent: one.name });
  button.title = `Show only ${one.name}; click again for all`;
  return button;
}

function row(one) {
  const line = make('tr', 'fcn-row');
  const [box, name, share, sure, opacity] = ['td', 'th', 'td', 'td', 'td'].map((t) => make(t, ''));
  box.append(swatch(one));
  name.append(nameButton(one));
  name.scope = 'row';
  share.textContent = shareText(one.share);
  sure.textContent = percent(one.confidence);
  opacity.append(opacitySlider(one));
  line.append(box, name, share, sure, opacity);
  line.addEventListener('click', ({ target }) => {
    if (target.tagName !== 'INPUT') isolate(one.id);
  });
  rowOf.set(one.id, line);
  return line;
}

function setLegend(classes) {
  rowOf.clear();
  rows.replaceChildren(...classes.map(row));
  filter.hidden = classes.length <= UNFILTERED;
  if (filter.hidden) filter.value = '';
  filterRows();
  markIsolated();
  enableInks();
  palettes.hidden = !classes.some((one) => one.safe && one.safe !== one.color);
}

// The map of confidence has colours of its own, and one opacity for all.
function enableInks() {
  const isMap = state.view === 'confidence';
  for (const input of [palettes, ...rows.querySelectorAll('.fcn-range')]) input.disabled = isMap;
}

function filterRows() {
  const wanted = filter.value.trim().toLowerCase();
  for (const [id, line] of rowOf) {
    line.hidden = !scene.classes.get(id).name.toLowerCase().includes(wanted);
  }
}

// ---- one class alone

function markIsolated() {
  for (const [id, line] of rowOf) {
    line.classList.toggle('is-out', state.isolated !== null && state.isolated !== id);
    line.querySelector('button').setAttribute('aria-pressed', state.isolated === id);
  }
}

function isolate(id) {
  state.isolated = state.isolated === id ? null : id;
  markIsolated();
  paint();
  const one = scene?.classes.get(state.isolated);
  say(one ? `Only ${one.name}, ${shareText(one.share)} of the photo` : 'All classes');
}

// Isolates the next class in sight of the legend (or the one before); past either end come all.
function step(by) {
  if (!scene) return;
  const seen = [...rowOf.keys()].filter((id) => !rowOf.get(id).hidden);
  const ids = [null, ...seen], at = Math.max(0, ids.indexOf(state.isolated));
  isolate(ids[(at + by + ids.length) % ids.length]);
  rowOf.get(state.isolated)?.scrollIntoView({ block: 'nearest' });
}

function highlight(id) {
  if (id === state.pointed) return;
  rowOf.get(state.pointed)?.classList.remove('is-pointed');
  rowOf.get(id)?.classList.add('is-pointed');
  state.pointed = id;
}

// ---- all classes at once

// The background is no class that anyone looks for: "all" leaves it as a photo comes.
function showAll(shown) {
  showOthers = shown;
  state.isolated = null;
  markIsolated();
  for (const choice of choices.values()) choice.shown = shown && choice.painted;
  for (const [id, line] of rowOf) {
    line.querySelector('.fcn-swatch').checked = scene.classes.get(id).shown;
  }
  paint();
}

function setPalette(palette) {
  state.palette = palette;
  for (const [id, line] of rowOf) {
    line.querySelector('.fcn-swatch').style.setProperty('--ink', colorOf(scene.classes.get(id)));
  }
  paint();
}
