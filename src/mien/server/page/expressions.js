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
};
const UNKNOWN_COLOUR = "#e69f00"; // of classes that are not among the seven

/** The seven, in the order of every probability vector. */
export const EXPRESSIONS = Object.keys(COLOURS);

/** The colour of an expression. */
export function colourOf(name) {
  return Object.hasOwn(COLOURS, name) ? COLOURS[name] : UNKNOWN_COLOUR;
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
  return seen ? Object.keys(seen.faces[0].probs) : EXPRESSIONS;
}

/** What a face is called: its number in a video, its place in a picture. */
export function nameOf(face, index) {
  return `Face ${face.track_id ?? index + 1}`;
}
