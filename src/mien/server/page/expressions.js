// Names, colours and figures of expressions: the one copy of the page.

/** The colours of mien's own drawings (`mien.annotate.COLOURS`), safe for colour-blind eyes. */
export const COLOURS = {
  angry: "#d55e00",
  disgust: "#009e73",
  fear: "#cc79a7",
  happy: "#f0e442",
  sad: "#0072b2",
  surprise: "#56b4e9",
  neutral: "#c8c8c8",
  contempt: "#e69f00",
};
/** Of other classes (`mien.annotate.OTHER_COLOURS`), in the order in which the page met them. */
const OTHERS = [
  "#8800ff", "#773311", "#554455", "#00ff88", "#4433aa", "#bb55ff",
  "#aa9955", "#bbddff", "#772277", "#446644", "#88eeaa",
];
const met = [];

/** The seven, in the order of every probability vector. */
export const EXPRESSIONS = Object.keys(COLOURS).slice(0, 7);

/** Deal the classes of whatever answered their colours, in their own order. */
export function dealColours(labels) {
  labels.forEach(colourOf);
}

/** The colour of an expression. */
export function colourOf(name) {
  if (Object.hasOwn(COLOURS, name)) return COLOURS[name];
  if (!met.includes(name)) met.push(name);
  return OTHERS[met.indexOf(name) % OTHERS.length];
}

/** Black or white, whichever is read better on an expression's colour. */
export function inkOn(name) {
  const rgb = colourOf(name).match(/\w\w/g).map((part) => parseInt(part, 16) / 255);
  const [r, g, b] = rgb.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#141414" : "#ffffff";
}

/** 0.934 -> "93%". */
export function percent(p) {
  return `${Math.round(100 * p)}%`;
}

/** Seconds as people write them: "4.2 s", "1:05". */
export function clock(seconds) {
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(rest)}` : `${minutes}:${two(rest)}`;
}

/** The classes of whatever answered: those of the first face. */
export function labelsOf(results) {
  const seen = results.find((result) => result.faces.length);
  const labels = seen ? Object.keys(seen.faces[0].probs) : EXPRESSIONS;
  dealColours(labels);
  return labels;
}

/** What a face is called: its number in a video, its place in a picture. */
export function nameOf(face, index) {
  return `Face ${face.track_id ?? index + 1}`;
}
