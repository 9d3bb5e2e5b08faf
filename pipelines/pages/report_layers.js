// Layers are palette PNGs: the browser draws them, and these functions read the same bytes. An index is twice the number
// of a segment, and one more on its outline; number 0 is void.

/** The indices and colours of a palette PNG whose rows are all filtered "up", as this page's are. */
async function readLayer(uri) {
  const bytes = Uint8Array.from(atob(uri.slice(uri.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  const width = view.getUint32(16), height = view.getUint32(20);
  const chunks = {};
  for (let start = 8; start < bytes.length;) {
    const length = view.getUint32(start);
    const kind = String.fromCharCode(...bytes.subarray(start + 4, start + 8));
    chunks[kind] = bytes.subarray(start + 8, start + 8 + length);
    start += length + 12;
  }
  const inflated = new Blob([chunks.IDAT]).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(inflated).arrayBuffer());
  const numbers = new Uint8Array(width * height);
  const above = new Uint8Array(width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      above[x] += rows[y * (width + 1) + 1 + x];
      numbers[y * width + x] = above[x] >> 1;
    }
  }
  return { width, height, numbers, palette: chunks.PLTE };
}

/** The colour of a segment as CSS. */
function colorOf(layer, number) {
  const [red, green, blue] = layer.palette.subarray(6 * number, 6 * number + 3);
  return `rgb(${red} ${green} ${blue})`;
}

/** Darken all of a canvas but one segment, and outline that. */
function drawHighlight(canvas, layer, number) {
  const { width, height, numbers } = layer;
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  const isInside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && numbers[y * width + x] === number;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const start = 4 * (y * width + x);
      if (!isInside(x, y)) {
        picture.data[start + 3] = 130;
      } else if (!(isInside(x - 2, y) && isInside(x + 2, y) && isInside(x, y - 2) && isInside(x, y + 2))) {
        picture.data.set([255, 255, 255, 255], start);
      }
    }
  }
  context.putImageData(picture, 0, 0);
}

/** Take the highlight away. */
function clearHighlight(canvas) {
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
}
