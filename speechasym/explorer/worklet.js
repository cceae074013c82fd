// Collects the microphone's samples into chunks of about 150 ms.
class Chunks extends AudioWorkletProcessor {
  constructor() {
    super();
    this.chunk = new Float32Array(Math.round(sampleRate * 0.15));
    this.filled = 0;
  }

  process([input]) {
    const [channel] = input;
    if (!channel) return true;
    for (const sample of channel) {
      this.chunk[this.filled] = sample;
      this.filled += 1;
      if (this.filled === this.chunk.length) {
        this.port.postMessage(this.chunk.slice());
        this.filled = 0;
      }
    }
    return true;
  }
}
registerProcessor("chunks", Chunks);
