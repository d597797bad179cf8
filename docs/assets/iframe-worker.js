// A page that is opened as a file may start no Worker, and search is one. So there a hidden frame runs its script.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.waiting = []
      document.body.appendChild(this.frame)
      const inner = this.frame.contentWindow
      // What the script posts comes to us; what we post comes to the script.
      inner.postMessage = data => this.tell(this, data)
      inner.importScripts = (...urls) => urls.reduce((before, each) => before.then(() => this.load(each)), Promise.resolve())
      this.inner = inner
      this.load(url).then(() => {
        for (const data of this.waiting) this.tell(inner, data)
        this.waiting = null
      })
    }
    load(url) {
      return new Promise((done, failed) => {
        const script = this.frame.contentDocument.createElement("script")
        script.src = url
        script.onload = done
        script.onerror = failed
        this.frame.contentDocument.body.appendChild(script)
      })
    }
    tell(target, data) {
      setTimeout(() => target.dispatchEvent(new MessageEvent("message", { data })))
    }
    postMessage(data) {
      if (this.waiting) this.waiting.push(data)
      else this.tell(this.inner, data)
    }
    terminate() {
      this.frame.remove()
    }
  }
  window.Worker = window.IFrameWorker
}
