"""Train a classifier on labelled texts, measure it, make it small, and save it as fastText's file."""

from fastemb import FastTextClassifier

drinks, travel = (
    ["a cup of tea", "milk in the pot", "hot coffee"],
    ["the train is late", "a bus ticket", "platform two"],
)
texts = [f"{text} today{n % 40}" for n, text in enumerate([*drinks, *travel] * 60)]
labels = (["drink"] * 3 + ["travel"] * 3) * 60

classifier = FastTextClassifier(lr=0.5, epochs=10, word_ngrams=2, bucket=2000, vector_size=20)
classifier.fit(texts[:240], labels[:240])
print(f"accuracy {classifier.score(texts[240:], labels[240:]):.3f}")
for label, measure in classifier.test(texts[240:], labels[240:]).labels.items():
    print(f"{label:8} precision {measure.precision:.3f}  recall {measure.recall:.3f}")

before = classifier.nbytes
classifier.quantize()
print(f"{before:,} bytes before, {classifier.nbytes:,} now, accuracy {classifier.score(texts[240:], labels[240:]):.3f}")
classifier.save("model.ftz")
