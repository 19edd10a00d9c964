// Files to take away, made of what the browser holds: names as `python -m fcn segment` gives them.

function save(blob, download) {
  const href = URL.createObjectURL(blob);
  make('a', '', { href, download }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000);
}

// The name is read at once: until a file is made, another photo may be shown.
function saveOverlay() {
  const name = `${scene.payload.name}_overlay.png`;
  canvas.toBlob((blob) => save(blob, name), 'image/png');
}

// ---- the mask, an indexed PNG: https://www.w3.org/TR/png-3/

const crcTable = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});

function chunk(type, content) {
  const bytes = new Uint8Array(12 + content.length), view = new DataView(bytes.buffer);
  view.setUint32(0, content.length);
  for (let i = 0; i < 4; i++) bytes[4 + i] = type.charCodeAt(i);
  bytes.set(content, 8);
  let crc = -1;
  for (const byte of bytes.subarray(4, -4)) crc = crcTable[(crc ^ byte) & 255] ^ (crc >>> 8);
  view.setUint32(8 + content.length, ~crc);
  return bytes;
}

async function deflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function saveMask() {
  const name = `${scene.payload.name}.png`, { ids, width, height } = scene.main;
  const header = new Uint8Array(13), view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, 3], 8); // 8 bits, indexed colour
  const lines = new Uint8Array(height * (width + 1)); // each line starts with its filter: none
  for (let y = 0; y < height; y++) {
    lines.set(ids.subarray(y * width, (y + 1) * width), y * (width + 1) + 1);
  }
  const palette = new Uint8Array(3 * (1 + Math.max(...scene.classes.keys())));
  for (const one of scene.classes.values()) palette.set(rgb(colorOf(one)), 3 * one.id);
  const signature = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a);
  const chunks = [
    chunk('IHDR', header), chunk('PLTE', palette), chunk('IDAT', await deflated(lines)),
    chunk('IEND', []),
  ];
  save(new Blob([signature, ...chunks], { type: 'image/png' }), name);
}

// ---- the summary

// COCO's run lengths of every class: down the columns, first those outside it; see fcn/demo/rle.py.
function runLengths({ ids, width, height }) {
  const pixels = width * height, counts = new Map(), ends = new Map();
  for (let start = 0, at = 1; at <= pixels; at++) {
    const id = ids[(start % height) * width + ((start / height) | 0)];
    if (at < pixels && ids[(at % height) * width + ((at / height) | 0)] === id) continue;
    if (!counts.has(id)) counts.set(id, []);
    counts.get(id).push(start - (ends.get(id) ?? 0), at - start);
    ends.set(id, at);
    start = at;
  }
  for (const [id, end] of ends) if (end < pixels) counts.get(id).push(pixels - end);
  return counts;
}

function saveSummary() {
  const { name: photo, weights, seconds } = scene.payload;
  const { width, height } = scene.main, counts = runLengths(scene.main);
  const size = [height, width]; // COCO's order
  const classes = scene.found
    .toSorted((one, other) => other.pixels - one.pixels || one.id - other.id)
    .map((one) => {
      const { id, name, pixels, share, confidence } = one, rle = { size, counts: counts.get(id) };
      return { id, name, color: colorOf(one), pixels, share, confidence, rle };
    });
  const summary = { classes, size: [width, height], weights, seconds };
  save(new Blob([JSON.stringify(summary)], { type: 'application/json' }), `${photo}.json`);
}
