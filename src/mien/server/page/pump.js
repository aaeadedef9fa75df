// Takes pictures out of a playing camera as fast as the server answers, never faster.

const LONG_SIDE_PX = 640; // larger pictures are scaled down before they are sent
const QUALITY = 0.85; // of the JPEG

/** Runs from its making to `stop()`; `paused` holds it. */
export class Pump {
  constructor(video, connection) {
    this.video = video;
    this.connection = connection;
    this.longSide = LONG_SIDE_PX;
    this.maxFps = 30;
    this.paused = false;
    this.busy = false; // a picture is being compressed
    this.last = -Infinity;
    this.began = performance.now();
    this.canvas = document.createElement("canvas");
    this.running = true;
    this.next();
  }

  /** What the server allows (its hello). */
  limit({ max_px: px, max_fps: fps }) {
    if (px > 0) this.longSide = Math.min(LONG_SIDE_PX, px);
    if (fps > 0) this.maxFps = fps;
  }

  stop() {
    this.running = false;
  }

  /** Seconds since this began. */
  now() {
    return (performance.now() - this.began) / 1000;
  }

  next() {
    if (!this.running) return;
    this.tick();
    if (this.video.requestVideoFrameCallback) {
      this.video.requestVideoFrameCallback(() => this.next());
    } else {
      requestAnimationFrame(() => this.next());
    }
  }

  async tick() {
    const now = this.now();
    // A little early is on time: cameras do not keep time to the millisecond.
    const due = now - this.last >= 0.9 / this.maxFps;
    const ready = this.video.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA;
    if (this.paused || this.busy || !due || !ready) return;
    this.connection.wake();
    if (!this.connection.free) return;
    const taken = performance.now();
    this.last = now;
    this.busy = true;
    try {
      const blob = await this.take();
      if (blob) this.connection.send(now, await blob.arrayBuffer(), taken);
    } finally {
      this.busy = false;
    }
  }

  /** The picture of this moment as a JPEG. */
  take() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const scale = Math.min(1, this.longSide / Math.max(width, height));
    this.canvas.width = Math.max(1, Math.round(width * scale));
    this.canvas.height = Math.max(1, Math.round(height * scale));
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    return new Promise((resolve) => this.canvas.toBlob(resolve, "image/jpeg", QUALITY));
  }
}
