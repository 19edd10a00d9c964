// The lesson: for each part words, pictures, a table and source. Gradio runs this file as the body
// of a function of (element, props, watch). Names of classes are only ever set as text.

const status = element.querySelector('.lesson-status');
const parts = element.querySelector('.lesson > div');

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function picture({ caption, cells, file }) {
  const image = make('img', { src: file.url, alt: caption, className: cells ? 'is-cells' : '' });
  return make('figure', {}, image, make('figcaption', { textContent: caption, ariaHidden: 'true' }));
}

function table([head, ...rows]) {
  const row = (cells, tag) => make('tr', {}, ...cells.map((one) => make(tag, { textContent: one })));
  const body = make('tbody', {}, ...rows.map((cells) => row(cells, 'td')));
  return make('table', {}, make('thead', {}, row(head, 'th')), body);
}

function excerpt({ name, place, code }) {
  const title = make('summary', {}, make('code', { textContent: name }), ` in ${place}`);
  const source = make('pre', { tabIndex: 0 }, make('code', { textContent: code }));
  return make('details', {}, title, source);
}

function part(told, index) {
  const made = make('section', {}, make('h2', { textContent: `${index + 1}. ${told.title}` }));
  made.append(make('p', { textContent: told.words }));
  const pictures = make('div', { className: 'lesson-pictures' }, ...told.pictures.map(picture));
  pictures.classList.toggle('in-threes', told.pictures.length % 3 === 0);
  made.append(pictures);
  if (told.table.length) made.append(table(told.table));
  made.append(...told.excerpts.map(excerpt));
  return made;
}

function show() {
  if (!props.value) return;
  status.textContent = props.value.line;
  parts.replaceChildren(...props.value.parts.map(part));
}

watch('value', show);
show();
