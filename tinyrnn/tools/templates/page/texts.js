// What a classifier of texts reads, and what there is to say of that.
const vocabulary = new Vocabulary(data.vocabulary)

function reading(text) {
  const {ids, missing, cut} = vocabulary.encodeText(text, data.most)
  const unread = text.trim() && !vocabulary.pieces(text).some(s => s.trim() && !missing.includes(s) && !missing.includes(s.trim()))
  const told = unread ? "The model knows no symbol of this text: what it says means nothing." : vocabulary.told(missing)
  return {inputs: {ids}, told: `${told}${cut ? ` Read up to symbol ${data.most}, where it is cut.` : ""}`.trim()}
}
