// Ways in for a photo where Gradio's own input has none. Gradio runs this file, a function, once.
//
// Gradio pastes at the click of a button, which then is all that it takes until another source is
// chosen, and works over HTTPS alone; this does at Ctrl+V. Where a photo is already, Gradio loses
// the one that is dropped on it; beside it, the browser would open it in place of the page. Gradio's
// icon to upload takes the photo away that is there, and asks for none. What it says of a file that
// is too large goes by in a corner, and of a camera that is not there it says nothing. It refuses
// photos of kinds that the browser has no name for, as many have none for AVIF or TIFF.
() => {
  const [LIMIT, ENDINGS, NO_PHOTO] = WHAT_IS_TAKEN; // fcn/photo.py has them
  const INPUT = '#photo input[type=file]';
  const tell = (event, detail) => document.querySelector('#viewer figure')
    .dispatchEvent(new CustomEvent(event, { detail }));
  const refuse = (message) => tell('fcn-refused', message);

  const give = (files) => {
    const input = document.querySelector(INPUT);
    if (!input?.closest('#page').checkVisibility()) return false; // another tab is open
    if (files.length !== 1) return false; // gallery.js takes several
    input.files = files;
    return input.dispatchEvent(new Event('change', { bubbles: true }));
  };

  document.addEventListener('change', (event) => {
    if (!event.target.matches?.(INPUT)) return;
    const [file] = event.target.files;
    if (!file) return;
    const isLarge = file.size > LIMIT * 2 ** 20;
    const isKnown = file.type.startsWith('image/');
    const ending = ENDINGS.find((one) => file.name.toLowerCase().endsWith(one))
      ?? (file.name.includes('.') ? null : '.jpeg'); // the server looks into it
    if (isLarge || !(isKnown || ending)) {
      event.stopPropagation();
      event.target.value = '';
      const large = `is larger than the limit of ${LIMIT} MB.`;
      refuse(`${file.name} ${isLarge ? large : NO_PHOTO}`);
      return;
    }
    if (!isKnown) {
      const held = new DataTransfer();
      held.items.add(new File([file], file.name, { type: `image/${ending.slice(1)}` }));
      event.target.files = held.files;
    }
    tell('fcn-sent');
  }, { capture: true });

  document.addEventListener('click', (event) => {
    const input = document.querySelector(INPUT);
    if (!input?.closest('#photo:has([aria-label="Remove Image"])')) return;
    if (!event.target.closest?.('#photo [aria-label="Upload file"]')) return;
    event.stopPropagation();
    input.click();
  }, { capture: true });

  // Of a TIFF, many browsers show a torn picture.
  for (const event of ['load', 'error']) {
    document.addEventListener(event, ({ target }) => {
      if (target.matches?.('#photo img')) target.style.opacity = event === 'load' ? 1 : 0;
    }, { capture: true });
  }

  document.addEventListener('paste', ({ clipboardData }) => give(clipboardData.files));

  const holdsFiles = ({ dataTransfer }) => dataTransfer?.types.includes('Files');
  document.addEventListener('dragover', (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    event.stopPropagation(); // or Gradio's frame would look as if something were still held over it
  }, { capture: true });
  document.addEventListener('drop', (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    if (!give(event.dataTransfer.files)) return;
    event.stopPropagation();
    event.target.dispatchEvent(new DragEvent('dragleave', { bubbles: true })); // for its looks
  }, { capture: true });

  window.addEventListener('unhandledrejection', (event) => {
    const isCamera = /^Not(Allowed|Found|Readable)Error$/.test(event.reason?.name);
    if (!isCamera || !document.querySelector('#photo video')) return;
    event.preventDefault();
    refuse('No camera can be used here.');
  });
}
