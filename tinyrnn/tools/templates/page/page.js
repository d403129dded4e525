// What all pages share: the theme, the worker, rows of symbols that can be walked through, colours.
const $ = id => document.getElementById(id)
const data = JSON.parse($("data").textContent)
const make = (tag, properties = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...inside)
  return element
}
const percent = p => p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : p >= 0.001 ? `${(100 * p).toFixed(1)} %` : "< 0.1 %"

// ------------------------------------------------------------------ theme

const redraws = [] // functions that draw what has the theme's colours
const dark = matchMedia("(prefers-color-scheme: dark)")
function theme(chosen) {
  if (chosen === "auto") delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = chosen
  redraws.forEach(draw => draw())
}
let remembered = "auto"
try { remembered = localStorage.getItem("tinyrnn-theme") ?? "auto" } catch { /* a page that may keep nothing */ }
$("theme").value = remembered
$("theme").onchange = () => {
  theme($("theme").value)
  try { localStorage.setItem("tinyrnn-theme", $("theme").value) } catch { /* it is the same until it is closed */ }
}
theme($("theme").value)
dark.addEventListener("change", () => redraws.forEach(draw => draw()))
addEventListener("resize", () => redraws.forEach(draw => draw()))

/** A colour of the theme as [red, green, blue]. */
function colour(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
  return [1, 3, 5].map(i => parseInt(text.slice(i, i + 2), 16))
}
const between = (a, b, part) => a.map((x, i) => Math.round(x + (b[i] - x) * part))

// ------------------------------------------------------------------ the worker

let count = 0, heard = () => {}, tell
const failed = why => { $("fault").textContent = `The model stopped: ${why}. Load the page again.` }
const answered = message => message.fault ? failed(message.fault) : heard(message)
function begin() {
  const receive = engine(message => setTimeout(() => answered(message)))
  tell = message => setTimeout(() => receive(message))
  load()
}
function load() {
  tell({job: "load", weights: $("weights").textContent.trim(), constants: data.constants})
}
/** Start a job; `then` gets each of its messages, until another job is started. */
function start(job, then) {
  const id = ++count
  heard = message => { if (message.id === id) then(message) }
  tell({...job, id})
}
const stop = () => start({job: "none"}, () => {})
try {
  const source = $("engine").textContent + "\nconst receive = engine(message => postMessage(message)); onmessage = e => receive(e.data)"
  const worker = new Worker(URL.createObjectURL(new Blob([source], {type: "text/javascript"})))
  worker.onmessage = e => answered(e.data)
  worker.onerror = e => { // where there can be no worker the page computes, in small parts
    e.preventDefault()
    if (e.message) failed(e.message)
    else begin()
  }
  tell = message => worker.postMessage(message)
  load()
} catch { begin() }

// ------------------------------------------------------------------ symbols

/** How strongly what a model did not expect is shaded: nothing at probability 1, all from 1 in 1,000 on. */
const surprise = p => p === null ? 0 : Math.min(1, -Math.log(Math.max(p, 1e-9)) / Math.log(1000))

/** A line of symbols in `box`: the pointer or, once one has the focus, arrow keys choose one; `chosen(index)`. */
class Symbols {
  constructor(box, vocabulary, chosen) {
    Object.assign(this, {box, vocabulary, chosen, spans: [], at: -1})
    const index = e => this.spans.indexOf(e.target.closest("[data-symbol]"))
    box.addEventListener("pointerover", e => { if (index(e) >= 0) this.choose(index(e)) })
    box.addEventListener("click", e => { if (index(e) >= 0) this.choose(index(e), true) })
    box.addEventListener("focusin", e => { if (index(e) >= 0) this.choose(index(e)) })
    box.addEventListener("keydown", e => {
      const last = this.spans.length - 1
      const to = {ArrowRight: this.at + 1, ArrowLeft: this.at - 1, Home: 0, End: last}[e.key]
      if (to === undefined || this.at < 0) return
      e.preventDefault()
      this.choose(Math.min(Math.max(to, 0), last), true)
    })
  }

  clear() {
    this.spans = []
    this.at = -1
    this.line = null
    this.decode = this.vocabulary.decoder()
    this.box.replaceChildren()
  }

  /** One more symbol, with the probability it had (null: there was none), and classes to show it by. */
  add(id, p, classes = "", text = this.decode(id)) {
    const span = make("span", {className: classes, textContent: text})
    span.dataset.symbol = id
    if (text === "\n") span.classList.add("end")
    if (text === "") span.classList.add("part")
    span.style.setProperty("--surprise", surprise(p).toFixed(3))
    span.setAttribute("aria-label", this.vocabulary.symbols[id] === undefined ? text : this.vocabulary.named(id))
    span.tabIndex = this.spans.length ? -1 : 0
    span.setAttribute("role", "option")
    this.spans.push(span)
    if (!this.line) this.box.append(this.line = make("div", {role: "none"})) // what is laid out anew is a line
    this.line.append(span)
    if (text.includes("\n")) this.line = null
  }

  choose(i, focus = false) {
    const before = this.spans[this.at], now = this.spans[i]
    if (before) {
      Object.assign(before, {tabIndex: -1, ariaSelected: "false"}).classList.remove("at")
    }
    if (this.spans[0]) this.spans[0].tabIndex = -1
    this.at = i
    Object.assign(now, {tabIndex: 0, ariaSelected: "true"})
    now.classList.add("at")
    if (focus && document.activeElement !== now) now.focus()
    this.chosen(i)
  }
}

/** The `best` symbols as `bars` takes them, and the one that stands there. */
function candidates(vocabulary, best, symbol, p) {
  const all = p === null || best.some(([id]) => id === symbol) ? best : [...best, [symbol, p]]
  return all.map(([id, q]) => [vocabulary.named(id), q, id === symbol])
}

/** Rows of a name, a bar and a percentage in `list`, from [name, probability, marked]. */
function bars(list, rows) {
  while (list.children.length > rows.length) list.lastChild.remove()
  while (list.children.length < rows.length) {
    list.append(make("li", {}, make("span", {className: "name"}), make("span", {className: "bar"}, make("i")), make("span", {className: "figure"})))
  }
  rows.forEach(([name, p, marked], i) => {
    const [label, bar, figure] = list.children[i].children
    label.textContent = name
    bar.firstChild.style.width = `${100 * p}%`
    figure.textContent = percent(p)
    list.children[i].classList.toggle("marked", Boolean(marked))
  })
}

/** A value in a box beside a slider. */
for (const input of document.querySelectorAll("input[type=range]")) {
  const shown = document.querySelector(`output[for=${input.id}]`)
  const show = () => { shown.textContent = input.value }
  input.addEventListener("input", show)
  show()
}
