// A classifier's page: what it says changes with what is typed.
const vocabulary = data.vocabulary && new Vocabulary(data.vocabulary), SHOWN = 20
let busy = false, waiting = false, said = ""

/** What the model reads of the text, and what there is to say of that. */
function read(text) {
  const {ids, missing, cut} = vocabulary.encodeText(text, data.most)
  const unread = text.trim() && !vocabulary.pieces(text).some(s => s.trim() && !missing.includes(s) && !missing.includes(s.trim()))
  const told = unread ? "The model knows no symbol of this text: what it says means nothing." : vocabulary.told(missing)
  return {inputs: {ids}, told: `${told}${cut ? ` Read up to symbol ${data.most}, where it is cut.` : ""}`.trim()}
}

function show(probabilities) {
  const named = data.labels.map((label, i) => [label, probabilities[i], data.thresholds ? probabilities[i] >= data.thresholds[i] : false])
  const most = named.reduce((a, b) => b[1] > a[1] ? b : a)
  if (!data.thresholds) most[2] = true
  const chosen = named.filter(row => row[2])
  $("label").textContent = chosen.map(row => row[0]).join(", ") || "none of the labels"
  const rows = named.length > SHOWN ? named.sort((a, b) => b[1] - a[1]).slice(0, SHOWN) : named
  bars($("bars"), rows)
  said = chosen.length ? chosen.map(([label, p]) => `${label}, ${percent(p)}`).join("; ") : "None of the labels"
}

function classify() {
  if (busy) { waiting = true; return }
  const text = $("input").value
  if (!text.trim()) {
    Object.assign($("label"), {textContent: "–"})
    $("told").textContent = $("status").textContent = ""
    bars($("bars"), data.labels.slice(0, SHOWN).map(label => [label, 0, false]))
    for (const row of $("bars").children) row.lastChild.textContent = ""
    return
  }
  const {inputs, told, fault} = read(text)
  if ($("told").textContent !== told) $("told").textContent = told
  if (fault) return
  busy = true
  start({job: "classify", ...inputs}, message => {
    busy = false
    show(message.probabilities)
    if (waiting) { waiting = false; classify() }
  })
}

let pause
$("input").oninput = () => {
  classify()
  clearTimeout(pause) // a reader of the screen is told once typing rests
  pause = setTimeout(() => { if ($("input").value.trim()) $("status").textContent = said }, 800)
}
$("form").onsubmit = e => e.preventDefault()
classify()
