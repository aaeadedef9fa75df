// Builds elements. Words go in as text and never as markup, so that a name cannot carry a script.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`on: {click: f}` for events) and children (elements or text). */
export function make(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for a drawing. */
export function draw(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, react] of Object.entries(value)) element.addEventListener(event, react);
    } else if (value === true) {
      element.setAttribute(name, "");
    } else if (value !== false && value !== null && value !== undefined) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element of the page with this id. */
export function get(id) {
  return document.getElementById(id);
}

/** A button. `look` is `primary`, `quiet` or nothing. */
export function button(text, react, look = "") {
  return make("button", { type: "button", class: `button ${look}`, on: { click: react } }, text);
}

/** A button for what cannot be undone: it asks once more before it acts. */
export function sureButton(text, question, react) {
  let timer = 0;
  const calm = () => {
    timer = 0;
    self.textContent = text;
    self.classList.remove("sure");
  };
  const self = button(text, () => {
    if (timer) {
      clearTimeout(timer);
      calm();
      react();
      return;
    }
    self.textContent = question;
    self.classList.add("sure");
    announce(question);
    timer = setTimeout(calm, 4000);
  }, "quiet");
  return self;
}

/** A message about a file whose name stands beside it, without that name before it. */
export function besides(name, text) {
  const repeated = text.slice(0, name.length + 2).toLowerCase() === `${name}: `.toLowerCase();
  const rest = text.slice(name.length + 2);
  return repeated && rest ? rest[0].toUpperCase() + rest.slice(1) : text;
}

/** A designed state instead of content: `empty`, `wait` or `error`, with what to do next. */
export function notice(kind, title, text, ...actions) {
  return make(
    "div",
    { class: `notice ${kind}`, role: kind === "error" ? "alert" : null },
    make("p", { class: "notice-title" }, title),
    text ? make("p", {}, besides(title, text)) : null,
    actions.length ? make("div", { class: "row" }, ...actions) : null,
  );
}

/** The same, until the reader puts it away. */
export function dismissible(kind, title, text, ...actions) {
  const dismiss = button("Dismiss", () => box.remove(), "quiet");
  const box = notice(kind, title, text, ...actions, dismiss);
  return box;
}

/** Ask by the dialog `NAME-dialog`: resolves to what `answer()` reads from it, or to null. */
export function ask(name, answer) {
  const dialog = get(`${name}-dialog`);
  dialog.returnValue = "";
  dialog.showModal();
  get(`${name}-form`).onsubmit = () => dialog.close("given");
  get(`${name}-cancel`).onclick = () => dialog.close();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "given" ? answer() : null);
  });
}

/** Say something to those who listen to the page; it is not shown. */
export function announce(text) {
  get("announcer").textContent = text;
}

/** Let the reader keep a file. */
export function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
