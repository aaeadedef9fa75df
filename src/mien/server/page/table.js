// Results as tables, written and read: the columns and objects of mien's own files (schema mien/1).

import { EXPRESSIONS, labelsOf } from "./expressions.js";

const SCHEMA = "mien/1";
const HEAD = ["schema", "source", "frame", "time_s", "width", "height"];
const EMPTY = ["", "NA"]; // as mien and R leave a cell that holds nothing
const POINTS = ["left_eye", "right_eye", "nose", "left_mouth", "right_mouth"];

/** The columns of a table: `mien.types.RESULT_COLUMNS` where the labels are the seven. */
export function columns(labels = EXPRESSIONS) {
  return [
    ...HEAD, "face", "track_id", "box_x", "box_y", "box_w", "box_h", "score",
    ...POINTS.flatMap((name) => [`${name}_x`, `${name}_y`]),
    "expression", "confidence", "uncertain",
    ...labels.map((name) => `prob_${name}`),
    "quality", "quality_reasons", "model",
  ];
}

/** One JSON object a line, one line a frame. The lines: hours of them are longer than a text can be. */
export function jsonlParts(results) {
  return results.map((result) => `${JSON.stringify({ schema: SCHEMA, ...result })}\n`);
}

/** One row per face, and one for a frame without a face; what is absent is empty. The lines, too. */
export function csvParts(results, labels = labelsOf(results)) {
  const rows = results.flatMap((result) => rowsOf(result, labels));
  return [columns(labels), ...rows].map((row) => `${row.map(cell).join(",")}\n`);
}

function rowsOf(result, labels) {
  const head = [SCHEMA, ...HEAD.slice(1).map((name) => result[name])];
  if (!result.faces.length) {
    return [[...head, ...columns(labels).slice(HEAD.length, -1).map(() => null), result.model]];
  }
  return result.faces.map((face, index) => [
    ...head, index, face.track_id, ...face.box, face.score, ...face.landmarks.flat(),
    face.expression, face.confidence, face.uncertain ? "True" : "False",
    ...labels.map((name) => face.probs[name]),
    face.quality?.score, face.quality?.reasons.join(" "), result.model,
  ]);
}

function cell(value) {
  const text = String(value ?? "");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/**
 * Results out of a file's text, by its name: `.jsonl`, `.json` or `.csv`.
 * Throws an Error whose message says what is wrong with which line.
 */
export function readTable(name, text, suffix = name.toLowerCase().split(".").pop()) {
  if (!["jsonl", "json", "csv"].includes(suffix)) {
    throw new Error(`${name}: expected a table that mien wrote (.jsonl, .json or .csv)`);
  }
  const results = suffix === "csv" ? fromCsv(name, text) : fromJson(name, text, suffix);
  if (!results.length) throw new Error(`${name}: holds no frame`);
  return results;
}

function fromJson(name, text, suffix) {
  const lines = suffix === "json" ? [text] : text.split("\n").filter((line) => line.trim());
  const objects = lines.flatMap((line, index) => {
    try {
      return JSON.parse(line);
    } catch {
      throw new Error(`${name}: line ${index + 1} is not JSON. Analyse the source again`);
    }
  });
  for (const [index, object] of objects.entries()) {
    const right = object?.schema === SCHEMA && Array.isArray(object.faces);
    if (!right) throw new Error(`${name}: object ${index + 1} is no frame of ${SCHEMA}`);
  }
  return objects;
}

function fromCsv(name, text) {
  const [names = [], ...rows] = cells(name, text);
  const missing = columns([]).find((column) => !names.includes(column));
  if (missing) throw new Error(`${name}: has no column ${missing}; expected a table of ${SCHEMA}`);
  const results = [];
  for (const [index, row] of rows.entries()) {
    const where = `${name}: line ${index + 2}`;
    if (row.length !== names.length) {
      throw new Error(`${where} has ${row.length} cells, not ${names.length}`);
    }
    const values = Object.fromEntries(names.map((column, i) => [column, row[i]]));
    if (values.schema !== SCHEMA) throw new Error(`${where} is not of ${SCHEMA}`);
    const frame = frameOf(values, where);
    const before = results.at(-1);
    const same = before?.source === frame.source && before.frame === frame.frame;
    const empty = EMPTY.includes(values.face);
    // A picture may have been given twice, one after the other: its faces begin at 0 (or none) again.
    if (!same || empty || Number(values.face) === 0) results.push(frame);
    if (!empty) results.at(-1).faces.push(faceOf(values, where));
  }
  return results;
}

function frameOf(values, where) {
  const numbers = HEAD.slice(2).map((column) => [column, numberIn(values, column, where)]);
  const model = EMPTY.includes(values.model) ? {} : { model: values.model };
  return { schema: SCHEMA, source: values.source, ...Object.fromEntries(numbers), ...model, faces: [] };
}

function faceOf(values, where) {
  const number = (column) => numberIn(values, column, where);
  const probs = Object.keys(values).filter((column) => column.startsWith("prob_"));
  return {
    track_id: EMPTY.includes(values.track_id) ? null : number("track_id"),
    box: [..."xywh"].map((edge) => number(`box_${edge}`)),
    score: number("score"),
    landmarks: POINTS.map((name) => [number(`${name}_x`), number(`${name}_y`)]),
    expression: values.expression,
    confidence: number("confidence"),
    uncertain: truthIn(values, "uncertain", where),
    probs: Object.fromEntries(probs.map((column) => [column.slice(5), number(column)])),
    ...(EMPTY.includes(values.quality) ? {} : { quality: qualityOf(values, where) }),
  };
}

function numberIn(values, column, where) {
  const number = values[column] === "" ? NaN : Number(values[column]);
  if (!Number.isFinite(number)) {
    throw new Error(`${where}: expected a number as ${column}, found "${values[column]}"`);
  }
  return number;
}

/** Whether; R and spreadsheets write it in capitals. A wrong guess would make sure answers of unsure ones. */
function truthIn(values, column, where) {
  const word = values[column].toLowerCase();
  if (word !== "true" && word !== "false") {
    throw new Error(`${where}: expected True or False as ${column}, found "${values[column]}"`);
  }
  return word === "true";
}

function qualityOf(values, where) {
  const reasons = values.quality_reasons.split(" ").filter((reason) => !EMPTY.includes(reason));
  return { score: numberIn(values, "quality", where), reasons };
}

/** The recordings of a table, in the order in which they begin; a source that is given twice is two. */
export function recordingsOf(results) {
  const begun = [];
  const underWay = new Map(); // by source
  for (const result of results) {
    const before = underWay.get(result.source);
    const follows = before && (result.time_s > before.at(-1).time_s || result.frame > 0);
    if (follows) {
      before.push(result);
    } else {
      underWay.set(result.source, [result]);
      begun.push(underWay.get(result.source));
    }
  }
  return begun;
}

/** The cells of a CSV text, row by row. */
function cells(name, text) {
  const rows = [];
  let row = [];
  const pattern = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r?\n|$)/gy;
  while (pattern.lastIndex < text.length) {
    const match = pattern.exec(text);
    if (!match) throw new Error(`${name}: line ${rows.length + 1} is not CSV`);
    row.push(match[1]?.replaceAll('""', '"') ?? match[2]);
    if (match[3] !== ",") {
      rows.push(row);
      row = [];
    }
  }
  if (row.length) rows.push([...row, ""]); // the text ends in a comma
  return rows;
}
