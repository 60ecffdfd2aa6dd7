// Elements and packed data. What comes from documents and models becomes text nodes, and nothing else.

const $ = (id) => document.getElementById(id);

/** An element; what is appended as a string is text, whatever it holds. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

function decoded(base64) {
  return Uint8Array.fromBase64 ? Uint8Array.fromBase64(base64) : Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
}

/** The JSON that an element holds as gzip in base64. */
function unpacked(element) {
  const packed = new Blob([decoded(element.textContent)]).stream();
  return new Response(packed.pipeThrough(new DecompressionStream("gzip"))).json();
}
