"""Train on text.txt, ask for neighbours, save, load."""

from fastemb import KeyedVectors, Word2Vec

model = Word2Vec(corpus_file="text.txt", vector_size=50, epochs=3)
model.wv.save("vectors.safetensors")

vectors = KeyedVectors.load("vectors.safetensors")
for word, cosine in vectors.most_similar("king", topn=3):
    print(f"{word:10} {cosine:.3f}")
