// A language model's page.
const vocabulary = new Vocabulary(data.vocabulary), STEP = 3 // CSS pixels a symbol
let written = [], strips = [], running = false
const text = new Symbols($("text"), vocabulary, show)

let first = 0
for (const [name, row] of Object.entries(data.states)) {
  const size = row.length, canvas = make("canvas", {height: size}), caption = make("figcaption")
  const [, state, layer] = name.match(/^(.*)_(\d+)$/)
  canvas.setAttribute("role", "img")
  canvas.style.height = `${Math.min(200, Math.max(48, size))}px`
  $("states").append(make("figure", {}, caption, canvas))
  strips.push({canvas, caption, at: first, size, top: 0, name: `${state} of layer ${+layer + 1}, ${size} ${size === 1 ? "unit" : "units"}`})
  first += size
}

/** All states, of as many symbols as there is room for, the chosen one among them. */
function draw() {
  const [less, middle, more, ink] = ["less", "middle", "more", "ink"].map(colour)
  for (const strip of strips) {
    const {canvas, size, at} = strip, columns = Math.max(1, Math.floor(canvas.clientWidth / STEP))
    let from = Math.max(0, written.length - columns)
    if (text.at >= 0 && text.at < from) from = Math.max(0, text.at - Math.floor(columns / 2))
    canvas.width = columns
    const context = canvas.getContext("2d"), image = context.createImageData(columns, size), top = strip.top || 1
    for (let c = 0; c < columns; c++) {
      const states = written[from + c]?.states
      for (let u = 0; u < size; u++) {
        const v = states ? Math.max(-1, Math.min(1, states[at + u] / top)) : 0, i = 4 * (u * columns + c)
        const to = v > 0 ? more : less, part = Math.abs(v)
        for (let k = 0; k < 3; k++) image.data[i + k] = middle[k] + (to[k] - middle[k]) * part
        image.data[i + 3] = 255
      }
    }
    context.putImageData(image, 0, 0)
    if (text.at >= from && text.at < from + columns) {
      context.fillStyle = `rgba(${ink}, .35)`
      context.fillRect(text.at - from, 0, 1, size)
    }
    const said = written.length ? `, up to ±${strip.top.toPrecision(2)}` : ""
    strip.caption.textContent = strip.name + said
    canvas.setAttribute("aria-label", `State ${strip.name}, over ${written.length} symbols${said}`)
  }
}
redraws.push(draw)

let queue = [], done = false, asked = false, began = 0
/** What has come is shown some 20 times a second, so that showing it takes little from writing it. */
function soon() {
  if (!asked) setTimeout(() => requestAnimationFrame(frame), running ? 40 : 0)
  asked = true
}
function frame() {
  asked = false
  const low = $("text").scrollHeight - $("text").scrollTop - $("text").clientHeight < 40
  for (const one of queue) {
    written.push(one)
    text.add(one.symbol, one.p, one.given ? "given" : "")
    for (const strip of strips) {
      for (let u = 0; u < strip.size; u++) strip.top = Math.max(strip.top, Math.abs(one.states[strip.at + u]))
    }
  }
  if (low && text.at < 0 && queue.length) $("text").scrollTop = $("text").scrollHeight
  if (text.at < 0 && queue.length) describe(written.length - 1) // as it goes, the latest
  queue = []
  draw()
  if (done && running) {
    const seconds = (done - began) / 1000, n = written.filter(one => !one.given).length
    ended(`${n} symbols in ${seconds.toFixed(2)} s, ${Math.round(written.length / seconds)} a second.`)
  }
}

/** What there is to know of one symbol; read out only where somebody chose it. */
function describe(i) {
  $("symbol").setAttribute("aria-live", text.at < 0 ? "off" : "polite")
  const {symbol, given, p, best} = written[i], name = vocabulary.named(symbol)
  const place = `Symbol ${i + 1}, ${name}`
  $("symbol").textContent = p === null ? `${place}: the first, which nothing foretells.`
    : `${place}: probability ${percent(p)}, surprise ${(-Math.log(p)).toFixed(2)} nats${given ? ", of the prompt" : ""}.`
  bars($("others"), candidates(vocabulary, best, symbol, p))
}
function show(i) {
  describe(i)
  soon()
}

function tellUnread() {
  const {ids, missing} = vocabulary.encode($("prompt").value)
  const none = $("prompt").value && !ids.length
  $("told").textContent = none ? "The model knows no symbol of this prompt: use others." : vocabulary.told(missing)
  return none
}

function ended(said) {
  running = false
  $("go").textContent = "Write again"
  $("stop").disabled = true
  $("status").textContent = said
}

function write() {
  if (tellUnread()) { $("prompt").focus(); return }
  const prompt = $("prompt").value, ids = prompt ? vocabulary.encode(prompt).ids : [data.start]
  const length = Math.min(5000, Math.max(1, Math.round(+$("length").value) || 1))
  $("length").value = length
  written = []
  queue = []
  done = false
  began = performance.now()
  strips.forEach(strip => { strip.top = 0 })
  text.clear()
  $("others").replaceChildren()
  $("symbol").textContent = ""
  $("go").textContent = "Write again"
  $("status").textContent = "Writing…"
  $("stop").disabled = false
  running = true
  const how = {temperature: +$("temperature").value, topP: +$("top-p").value, unknown: vocabulary.unknown}
  start({job: "write", ids, length, states: data.states, ...how}, message => {
    queue.push(...message.symbols)
    if (message.done) done = performance.now()
    soon()
  })
}

$("prompt").value = data.prompt
$("prompt").oninput = tellUnread
$("form").onsubmit = e => { e.preventDefault(); write() }
$("prompt").onkeydown = e => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); write() } }
$("stop").onclick = () => {
  stop()
  frame()
  ended(`Stopped after ${written.filter(one => !one.given).length} symbols.`)
  $("go").focus()
}
tellUnread()
draw()
