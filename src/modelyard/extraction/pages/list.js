// List: of any number of rows only those are drawn that are seen, each of the same height.

const BEYOND = 6; // rows drawn above and below what is seen
const STEPS = { ArrowDown: 1, j: 1, ArrowUp: -1, k: -1 };

const list = {
  items: [],
  at: -1, // of the row that is chosen
  draw: null, // makes a row's contents of an item
  moved: null, // called when another row is chosen
  heights: [2.25, 3.5], // of a row in rem, on a desk and on a phone
};

const narrow = matchMedia("(max-width: 40rem)");
const rowHeight = () => Math.round(parseFloat(getComputedStyle(document.documentElement).fontSize) * list.heights[narrow.matches ? 1 : 0]);

/** Shows other items; the one that was chosen stays so where it is among them. */
function showItems(items) {
  const before = list.items[list.at];
  list.items = items;
  list.at = before === undefined ? -1 : items.indexOf(before);
  drawRows();
}

function drawRows() {
  const height = rowHeight();
  const place = $("list");
  const room = $("rows");
  room.style.height = `${list.items.length * height}px`;
  place.style.setProperty("--row", `${height}px`);
  const first = Math.max(0, Math.floor(place.scrollTop / height) - BEYOND);
  const last = Math.min(list.items.length, Math.ceil((place.scrollTop + place.clientHeight) / height) + BEYOND);
  const drawn = [];
  for (let at = first; at < last; at += 1) drawn.push(row(at, height));
  room.replaceChildren(...drawn);
  if (list.at >= first && list.at < last) place.setAttribute("aria-activedescendant", `row-${list.at}`);
  else place.removeAttribute("aria-activedescendant");
}

function row(at, height) {
  const given = { class: "row", role: "option", id: `row-${at}`, "aria-selected": String(at === list.at) };
  const node = h("div", { ...given, "aria-setsize": list.items.length, "aria-posinset": at + 1 }, ...list.draw(list.items[at]));
  node.style.top = `${at * height}px`;
  return node;
}

/** Chooses a row and brings it into view. */
function choose(at) {
  if (!list.items.length) return;
  list.at = Math.min(Math.max(at, 0), list.items.length - 1);
  const place = $("list");
  const height = rowHeight();
  const head = $("columns").offsetHeight;
  const top = list.at * height;
  if (top < place.scrollTop) place.scrollTop = top;
  if (top + height > place.scrollTop + place.clientHeight - head) place.scrollTop = top + height - place.clientHeight + head;
  drawRows();
  list.moved(list.items[list.at]);
}

/** Where a key leads to, or null. */
function target(key) {
  const page = Math.max(1, Math.floor($("list").clientHeight / rowHeight()) - 2);
  if (key in STEPS) return list.at + STEPS[key];
  if (key === "PageDown" || key === "PageUp") return list.at + (key === "PageDown" ? page : -page);
  if (key === "Home" || key === "End") return key === "Home" ? 0 : list.items.length - 1;
  return null;
}

const plainKey = (event) => !(event.altKey || event.ctrlKey || event.metaKey);

function watchList(open) {
  let due = false;
  const redraw = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      drawRows();
    });
  };
  $("list").addEventListener("scroll", redraw, { passive: true });
  addEventListener("resize", redraw);
  $("list").addEventListener("click", (event) => {
    const found = event.target.closest(".row");
    if (!found) return;
    choose(Number(found.id.slice(4)));
    open(false);
  });
  $("list").addEventListener("keydown", (event) => {
    if (!plainKey(event)) return;
    const at = target(event.key);
    if (at === null && event.key !== "Enter") return;
    event.preventDefault();
    if (at !== null) choose(at);
    else if (list.at >= 0) open(true);
  });
}
