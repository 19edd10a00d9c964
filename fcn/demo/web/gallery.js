// Several photos at once: uploads them one by one, shows how far the run is, and opens each result
// in the viewer. Gradio runs keep.js and this file as the body of a function of (element, trigger,
// props, upload, watch). File names and sentences are only ever set as text.

const { most: MOST } = props; // photos at once
const REST = 1000; // ms from a cancelled run to the next, see start
const find = (selector) => element.querySelector(selector);
const section = find('section'), input = find('input'), list = find('ul'), zip = find('a');
const choose = find('.several-choose'), cancel = find('.several-cancel');
const progress = find('progress'), status = find('.several-status'), running = find('.several-run');

let turn = 0; // counts runs, so that an old one says nothing any more
let isActive = false;
let isAsked = false; // the server works on it
let cancelled = -Infinity; // when a run was, in ms since the page was opened
let owed = 0; // failures that Gradio will yet tell of runs that were cancelled: two for each
let opened = -1; // index of the row that the viewer shows
let opensFirst = false; // whether the first result is shown unasked
let items = [];
let leftOut = 0; // photos of the last choice that were too many
let by = ''; // which network segments them

function make(tag, className, properties = {}) {
  return Object.assign(document.createElement(tag), { className, ...properties });
}

function open(item) {
  opened = items.indexOf(item);
  opensFirst = false;
  const viewer = document.querySelector('#viewer figure');
  viewer.dispatchEvent(new CustomEvent('fcn-open', { detail: item.payload }));
  markOpened();
  return viewer;
}

function markOpened() {
  list.querySelectorAll('button').forEach((button, index) => {
    button.setAttribute('aria-current', index === opened);
  });
}

function row(item, index) {
  const line = make('li', ''), button = make('button', '', { type: 'button' });
  button.disabled = item.state !== 'done';
  button.setAttribute('aria-current', index === opened);
  const picture = make(item.thumbnail ? 'img' : 'span', 'several-picture');
  if (item.thumbnail) Object.assign(picture, { src: item.thumbnail.url, alt: '' });
  const words = make('span', 'several-words');
  words.append(make('b', '', { textContent: item.name }));
  words.append(make('span', '', { textContent: item.line ?? '' }));
  button.append(picture, words);
  button.addEventListener('click', () => {
    open(items[index]).scrollIntoView({ block: 'nearest' });
  });
  line.append(button);
  return line;
}

function setItems(newItems) {
  const focused = [...list.children].findIndex((line) => line.contains(document.activeElement));
  items = newItems;
  list.replaceChildren(...items.map(row));
  list.children[focused]?.firstElementChild.focus({ preventScroll: true });
}

// The button to begin with and the one to cancel with hand the focus to each other.
function setState(state) {
  const { activeElement } = document;
  section.dataset.state = state;
  isActive = state === 'running';
  isAsked = false;
  running.hidden = !isActive;
  choose.disabled = isActive;
  if (activeElement === (isActive ? choose : cancel)) (isActive ? cancel : choose).focus();
}

// Half of the bar is for uploading, half for the network.
function setProgress(steps) {
  progress.max = 2 * items.length;
  progress.value = steps;
}

const many = (count) => `${count} photo${count === 1 ? '' : 's'}`;

async function start(files) {
  if (isActive) return;
  const mine = ++turn, chosen = [...files].slice(0, MOST), sent = [];
  leftOut = Math.max(0, files.length - MOST);
  opened = -1;
  opensFirst = true;
  by = '';
  zip.hidden = true;
  setItems(chosen.map(({ name }) => ({ name, state: 'waiting', line: 'Waiting' })));
  setProgress(0);
  setState('running');
  for (const file of chosen) {
    status.textContent = `Uploading ${sent.length + 1} of ${chosen.length}`;
    const path = await upload(file).then((stored) => stored.path, () => null);
    if (mine !== turn) return;
    sent.push({ name: file.name, path });
    setProgress(sent.length);
  }
  // Gradio closes its stream with a cancelled run, and once the server has noticed, it drops all
  // that the visitor has in the queue: a run that came sooner would never end.
  await new Promise((resolve) => setTimeout(resolve, cancelled + REST - performance.now()));
  if (mine !== turn) return;
  status.textContent = `Segmenting ${many(chosen.length)}`;
  const palette = document.querySelector('#viewer .fcn-palettes').value;
  props.value = { files: sent, turn, palette };
  isAsked = true;
  trigger('segment');
}

function load() {
  const { items: newItems, zip: archive, turn: theirs, network } = props.value ?? {};
  if (!isActive || !newItems || theirs !== turn) return;
  owed = 0; // runs take turns, so those are over
  by = ` by ${network}`;
  setItems(newItems.map((item) => ({ line: 'Waiting', ...item })));
  const left = items.filter((item) => item.state === 'waiting').length;
  const done = items.find((item) => item.state === 'done');
  setProgress(2 * items.length - left);
  status.textContent = `${items.length - left} of ${items.length} done`;
  zip.hidden = !archive;
  if (archive) zip.href = archive.url;
  if (opensFirst && done) open(done);
  if (left) return;
  finish('', 'done');
}

function finish(words, state) {
  const done = items.filter((item) => item.state === 'done').length;
  const rest = leftOut ? `; ${leftOut} more left out (at most ${MOST} at once)` : '';
  setState(state);
  status.textContent = `${words}${done} of ${many(items.length)} segmented${by}${rest}`;
}

function stop(words) {
  turn++;
  setItems(items.map((item) => (
    item.state === 'waiting' ? { ...item, state: 'failed', line: 'Not segmented' } : item
  )));
  finish(`${words}: `, 'stopped');
}

// Of a file that the server has deleted, a browser would say nothing on the page.
async function download(event) {
  event.preventDefault();
  const { href } = zip, mine = turn;
  const { ok } = await fetch(href, { method: 'HEAD' }).catch(() => ({ ok: false }));
  if (ok) make('a', '', { href, download: 'segments.zip' }).click();
  else if (mine === turn) {
    status.textContent = 'The ZIP could not be fetched: choose the photos again.';
  }
}

function ownResults() {
  const archive = zip.hidden ? '' : zip.href;
  return archive || isActive ? { items, archive, by, leftOut } : null;
}

async function reopen(kept) {
  const { ok } = kept.archive ? await fetch(kept.archive, { method: 'HEAD' }) : { ok: true };
  if (!ok || turn) return; // or the visitor was faster
  ({ by, leftOut } = kept);
  setItems(kept.items);
  zip.href = kept.archive;
  zip.hidden = !kept.archive;
  stop('The page was reloaded');
}

// Several photos that are dropped or pasted on the place for one photo come here.
function takeSeveral(event, { files }) {
  if (files.length < 2 || !section.checkVisibility()) return;
  event.preventDefault();
  event.stopPropagation();
  start(files);
}

zip.addEventListener('click', download);
choose.addEventListener('click', () => input.click());
input.addEventListener('change', () => {
  if (input.files.length) start(input.files);
  input.value = '';
});
cancel.addEventListener('click', () => {
  if (isAsked) [owed, cancelled] = [owed + 2, performance.now()];
  trigger('cancel');
  stop('Cancelled');
});
section.addEventListener('several-failed', () => {
  if (owed) owed--;
  else if (isActive) stop('Interrupted');
});
document.addEventListener('drop', (event) => takeSeveral(event, event.dataTransfer), {
  capture: true,
});
// A photo that the visitor gives meanwhile is what they want to see; one that goes, as well as one
// that comes, takes what was opened off the viewer.
document.addEventListener('fcn-photo', ({ detail: photo }) => {
  if (photo) opensFirst = false;
  opened = -1;
  markOpened();
}, { capture: true });
document.addEventListener('paste', (event) => takeSeveral(event, event.clipboardData));
watch('value', load);
keepOverReload('fcn-several', ownResults, reopen);
