// What outlives a reload, which is Gradio's own way back from a broken connection: the server has
// the files still. `use` is given what `what` gave, and fails if they are gone after all.

function keepOverReload(key, what, use) {
  let kept;
  try {
    kept = JSON.parse(sessionStorage.getItem(key));
    sessionStorage.removeItem(key);
  } catch {
    return; // a browser may allow none, as in a page within another
  }
  addEventListener('pagehide', () => sessionStorage.setItem(key, JSON.stringify(what())));
  if (kept) use(kept).catch(() => {});
}
