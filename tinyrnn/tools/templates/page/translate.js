// A translator's page.
const source = new Vocabulary(data.source), target = new Vocabulary(data.target)
target.symbols.push("") // the end
target.bytes?.push(new Uint8Array())
const named = target.named.bind(target)
target.named = id => id === data.end ? "the end" : named(id)
const line = new Symbols($("symbols"), target, show)
let written = [], ids = [], read = []

const short = text => text === "" ? "·" : text.trim() === "" ? (text.includes("\n") ? "↵" : "␣") : text.trim()

function show(i) {
  const {symbol, p, best, weights} = written[i]
  const looked = Array.from(weights.keys()).sort((a, b) => weights[b] - weights[a]).slice(0, 3).filter(k => weights[k] >= 0.05)
  const where = looked.map(k => `${source.named(ids[k])} ${percent(weights[k])}`).join(", ")
  $("symbol").textContent = `Symbol ${i + 1}, ${target.named(symbol)}: probability ${percent(p)}; it looked at ${where || "much at once"}.`
  bars($("others"), candidates(target, best, symbol, p))
  read.forEach((span, k) => span.style.setProperty("--weight", weights[k].toFixed(3)))
  draw()
}

/** The weights as shades of the ink, with the symbols at the edges. */
function draw() {
  const canvas = $("attention"), g = canvas.getContext("2d"), ratio = devicePixelRatio || 1
  const across = ids.map(id => short(source.named(id) === "line end" ? "\n" : decoded(source, id)))
  const down = written.map(({symbol, end}) => end ? "end" : short(decoded(target, symbol)))
  g.font = "13px ui-monospace, monospace"
  const longest = texts => Math.ceil(Math.max(12, ...texts.map(t => g.measureText(t).width)))
  const left = longest(down) + 8, wide = longest(across), turned = wide > 24, top = (turned ? wide : 16) + 8
  const room = $("attention").parentElement.clientWidth - left - 4
  const cell = Math.max(11, Math.min(28, Math.floor(room / Math.max(1, across.length)))), width = left + cell * across.length + 2
  const height = top + cell * down.length + 2
  canvas.width = width * ratio
  canvas.height = height * ratio
  canvas.style.width = `${width}px`
  canvas.style.height = `${height}px`
  canvas.hidden = !written.length
  g.scale(ratio, ratio)
  const [page, ink, soft, accent] = ["page", "ink", "soft", "accent"].map(colour)
  g.font = `${Math.min(13, cell)}px ui-monospace, monospace`
  g.textBaseline = "middle"
  written.forEach(({weights}, row) => weights.forEach((w, k) => {
    g.fillStyle = `rgb(${between(page, ink, w)})`
    g.fillRect(left + k * cell, top + row * cell, cell, cell)
  }))
  g.strokeStyle = `rgb(${soft})`
  g.strokeRect(left - .5, top - .5, cell * across.length + 1, cell * down.length + 1)
  g.fillStyle = `rgb(${ink})`
  g.textAlign = "right"
  down.forEach((text, row) => g.fillText(text, left - 6, top + (row + .5) * cell))
  across.forEach((text, k) => {
    g.save()
    g.translate(left + (k + .5) * cell, top - 6)
    if (turned) { g.rotate(-Math.PI / 2); g.textAlign = "left"; g.fillText(text, 0, 0) }
    else { g.textAlign = "center"; g.fillText(text, 0, -6) }
    g.restore()
  })
  if (line.at >= 0) {
    g.strokeStyle = `rgb(${accent})`
    g.lineWidth = 2
    g.strokeRect(left, top + line.at * cell, cell * across.length, cell)
  }
  canvas.setAttribute("aria-label", written.length
    ? `Weights of ${down.length} written over ${across.length} read symbols; walk through the symbols above for each in words`
    : "Nothing is written yet")
}
redraws.push(draw)
const decoded = (vocabulary, id) => vocabulary.bytes ? new TextDecoder().decode(vocabulary.bytes[id]) : vocabulary.symbols[id]

function look() {
  const text = $("input").value, {missing, cut} = source.encodeText(text, data.most)
  const unread = text.trim() && !source.pieces(text).some(s => s.trim() && !missing.includes(s) && !missing.includes(s.trim()))
  const told = unread ? "The model knows no symbol of this text: what it writes means nothing." : source.told(missing)
  $("told").textContent = `${told}${cut ? ` Read up to symbol ${data.most}, where it is cut.` : ""}`.trim()
}

function translate() {
  look()
  const text = $("input").value
  if (!text.trim()) { $("status").textContent = "There is nothing to translate: type a text."; $("input").focus(); return }
  ids = source.encodeText(text, data.most).ids
  written = []
  line.clear()
  $("said").textContent = ""
  $("status").textContent = "Translating…"
  const decode = source.decoder()
  read = ids.map(id => make("span", {textContent: decode(id)}))
  $("source").replaceChildren(...read)
  const limit = Math.min(2 * ids.length + 20, data.most)
  start({job: "translate", ids, end: data.end, limit, states: data.states, unknown: target.unknown}, ({symbols, done}) => {
    for (const one of symbols) {
      written.push(one)
      line.add(one.symbol, one.p, one.end ? "end-of-all" : "", one.end ? "end" : undefined)
    }
    $("said").textContent = line.spans.filter((_, i) => !written[i].end).map(span => span.textContent).join("").trim()
    if (!done) return
    const sure = written.reduce((sum, one) => sum + Math.log(one.p), 0)
    const said = make("span", {className: "hidden", textContent: `${$("said").textContent || "Nothing"}: `})
    $("status").replaceChildren(said, `probability ${percent(Math.exp(sure))}`)
    line.choose(0)
  })
}

$("input").oninput = look
$("input").onkeydown = e => { if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); translate() } }
$("form").onsubmit = e => { e.preventDefault(); translate() }
draw()
