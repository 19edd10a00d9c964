// The chooser of the network. Gradio runs this file as the body of a function of (element, trigger,
// props). Names come with the weights, and weights may come from anyone: they are only ever text.

const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

function choose(source) {
  props.value = source;
  const viewer = document.querySelector('#viewer figure');
  viewer.dispatchEvent(new CustomEvent('fcn-network', { detail: source }));
  trigger('choose');
}

// Of two networks of one name each tells where it is from.
function option({ source, name, classes, score }, i, all) {
  const hasNamesake = all.filter((one) => one.name === name).length > 1;
  const lines = [classes, score, hasNamesake ? source : ''];
  const label = make('label'), words = make('span', { id: `network-${i}` });
  const radio = make('input', { type: 'radio', name: 'network', checked: source === props.value });
  radio.setAttribute('aria-label', name);
  radio.setAttribute('aria-describedby', words.id);
  radio.addEventListener('change', () => choose(source));
  words.append(...lines.map((textContent) => make('small', { textContent })));
  label.append(radio, make('b', { textContent: name }), words);
  return label;
}

const fieldset = element.querySelector('fieldset');
fieldset.append(...props.networks.map(option));
// The viewer went back to what a network had found before.
fieldset.addEventListener('fcn-back', ({ detail: source }) => {
  const index = props.networks.findIndex((one) => one.source === source);
  fieldset.querySelectorAll('input')[index].checked = true;
  props.value = source;
  trigger('choose');
});
