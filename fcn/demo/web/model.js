// The pictures of a checkpoint with their titles, which are only ever text: they may come from
// anyone. Gradio runs this file as the body of a function of (element, props, watch).

function show() {
  element.querySelector('.pictures').replaceChildren(...props.value.map(({ title, file }) => {
    const figure = document.createElement('figure'), caption = document.createElement('figcaption');
    caption.textContent = title;
    figure.append(caption, Object.assign(new Image(), { src: file.url, alt: '' }));
    return figure;
  }));
}
watch('value', show);
show();
