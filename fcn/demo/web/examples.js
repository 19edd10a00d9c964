// A button for each example photo. Gradio runs this file as the body of a function of (element,
// trigger, props).

for (const [index, { title, thumbnail }] of props.value.entries()) {
  const picture = Object.assign(new Image(), { src: thumbnail.url, alt: '' });
  const button = Object.assign(document.createElement('button'), { type: 'button' });
  button.setAttribute('aria-label', `Example: ${title}`);
  button.title = title;
  button.append(picture);
  button.addEventListener('click', () => trigger('choose', { index }));
  element.querySelector('div').append(button);
}
