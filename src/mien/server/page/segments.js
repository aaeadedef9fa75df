// From answers over time to what happened when: the rule of `mien.events`, in the page.

const ENTER = 0.5; // probability from which an expression that leads begins a segment
const LEAVE = 0.35; // below which it ends it
const SHORTEST_S = 0.25;
const PATIENCE_S = 0.5; // out of sight for so long within a segment,
const PATIENCE_STEPS = 2.5; // or, where frames are rare, for so many of the usual steps between them
const STEPS = 99; // by which the usual one is known
const DOUBTFUL = new Set(["badly-lit", "covered"]); // what makes a face count as out of sight

/** The steps between the first frames of a source, as these come. */
export class Steps {
  constructor() {
    this.sorted = [];
    this.now_s = Infinity;
  }

  see(now_s) {
    if (now_s > this.now_s && this.sorted.length < STEPS) {
      this.sorted.push(now_s - this.now_s);
      this.sorted.sort((a, b) => a - b);
    }
    this.now_s = now_s;
  }

  /** Their median, 0 before the second frame. */
  get usual_s() {
    return this.sorted[(this.sorted.length - 1) >> 1] ?? 0;
  }
}

/** All segments of one source, in order of their beginning. */
export function findSegments(results) {
  const open = new Map();
  const found = [];
  const steps = new Steps();
  const close = (number) => {
    const { last_s: end_s, area, ...rest } = open.get(number);
    open.delete(number);
    const length = end_s - rest.start_s;
    if (length < SHORTEST_S) return;
    const { expression, start_s, peak_s, peak } = rest;
    found.push({ track_id: number, expression, start_s, peak_s, end_s, mean: area / length, peak });
  };
  for (const { time_s: now, faces } of results) {
    steps.see(now);
    const reach_s = Math.max(PATIENCE_S, PATIENCE_STEPS * steps.usual_s);
    for (const [number, segment] of [...open]) {
      if (now - segment.last_s > reach_s) close(number);
    }
    for (const face of faces) {
      if (face.track_id !== null && canBeRead(face)) see(open, close, face, now);
    }
  }
  for (const number of [...open.keys()]) close(number);
  return found.sort((a, b) => a.start_s - b.start_s);
}

function canBeRead({ quality }) {
  return !quality?.reasons.some((reason) => DOUBTFUL.has(reason));
}

function see(open, close, face, now) {
  const { track_id: number, expression } = face;
  const p = face.probs[expression];
  const segment = open.get(number);
  if (segment) {
    const still = face.probs[segment.expression];
    const overtaken = expression !== segment.expression && p >= ENTER;
    if (still >= LEAVE && !overtaken) {
      segment.area += ((now - segment.last_s) * (still + segment.last_p)) / 2;
      Object.assign(segment, { last_s: now, last_p: still });
      if (still > segment.peak) Object.assign(segment, { peak: still, peak_s: now });
      return;
    }
    close(number);
  }
  if (p >= ENTER) {
    const begin = { expression, start_s: now, last_s: now, last_p: p, peak_s: now, peak: p, area: 0 };
    open.set(number, begin);
  }
}
