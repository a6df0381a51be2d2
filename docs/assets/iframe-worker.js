/* Search without a server. From a file, browsers start no worker: its script runs in a hidden frame instead. */
if (location.protocol === "file:") {
  const load = (inside, address) =>
    new Promise((done, failed) => {
      const script = inside.document.createElement("script")
      script.src = address
      script.onload = done
      script.onerror = failed
      inside.document.body.append(script)
    })
  // The script of the search asks its parent for this name.
  window.IFrameWorker = class extends EventTarget {
    constructor(address) {
      super()
      const frame = document.createElement("iframe")
      frame.hidden = true
      document.body.append(frame)
      this.inside = frame.contentWindow
      const script = new URL(address, location.href)
      const place = (url) => new URL(url, script).href
      this.inside.importScripts = (...urls) =>
        urls.reduce((before, url) => before.then(() => load(this.inside, place(url))), Promise.resolve())
      this.inside.postMessage = (data) => this.dispatchEvent(new MessageEvent("message", { data }))
      this.ready = load(this.inside, script.href)
    }

    postMessage(data) {
      this.ready.then(() => this.inside.dispatchEvent(new MessageEvent("message", { data })))
    }
  }
  window.Worker = window.IFrameWorker
}
