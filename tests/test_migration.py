"""gensim's scripts with other imports: fastemb's answers equal gensim's where these are determined."""

import re
import shlex
import textwrap
import warnings
from pathlib import Path

import numpy as np
import pytest

GENSIM = """
    from gensim.models import Word2Vec, FastText, KeyedVectors
    from gensim.models.phrases import Phrases, Phraser, FrozenPhrases, ENGLISH_CONNECTOR_WORDS
    from gensim.models.word2vec import LineSentence, PathLineSentences, Text8Corpus
    from gensim.models.callbacks import CallbackAny2Vec
    from gensim.utils import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP
"""
FASTEMB = """
    from fastemb import Word2Vec, FastText, KeyedVectors
    from fastemb import Phrases, Phraser, FrozenPhrases, ENGLISH_CONNECTOR_WORDS
    from fastemb import LineSentence, PathLineSentences, Text8Corpus
    from fastemb import CallbackAny2Vec
    from fastemb import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP
"""

SCRIPTS = {
    "train at once": """
        model = Word2Vec(sentences=common_texts, vector_size=20, window=5, min_count=1, workers=2, sample=0)
        answer["words"] = sorted(model.wv.index_to_key)
        answer["vector"] = model.wv["computer"].shape, model.wv["computer"].dtype
        answer["several"] = model.wv[["computer", "trees"]].shape
        answer["similar"] = len(model.wv.most_similar("computer", topn=5))
        answer["row"] = model.wv.vectors.shape, model.wv.vector_size, model.vector_size
        answer["known"] = "trees" in model.wv, "elephants" in model.wv, len(model.wv)
        answer["count"] = {word: model.wv.get_vecattr(word, "count") for word in answer["words"]}
        answer["syn1neg"] = model.syn1neg.shape
        answer["text"] = str(model)[:39]
        try:
            model.wv["elephants"]
        except KeyError:
            answer["unknown"] = "KeyError"
    """,
    "step by step": """
        model = Word2Vec(vector_size=20, min_count=2, workers=1, sg=1, negative=5, ns_exponent=0.75, epochs=3, sample=0)
        model.build_vocab(corpus_iterable=common_texts, progress_per=1000)
        answer["corpus"] = model.corpus_count, model.corpus_total_words, model.epochs
        result = model.train(corpus_iterable=common_texts, total_examples=model.corpus_count, epochs=model.epochs)
        answer["raw words"] = result[1]
        answer["kept"] = 0 < result[0] <= result[1]
        result = model.train(common_texts, total_words=model.corpus_total_words, epochs=2, compute_loss=True)
        answer["raw words again"] = result[1]
        answer["loss"] = model.get_latest_training_loss() > 0
        answer["restrict"] = len(model.wv.most_similar(positive=["user", "trees"], negative=["graph"], topn=2))
    """,
    "save and go on": """
        model = Word2Vec(common_texts, vector_size=20, min_count=1, workers=1, sample=0)
        model.save("word2vec.model")
        model = Word2Vec.load("word2vec.model")
        answer["go on"] = model.train([["hello", "world"]], total_examples=1, epochs=1) if "hello" in model.wv else None
        model.train([["human", "interface"]], total_examples=1, epochs=1)
        word_vectors = model.wv
        word_vectors.save("word2vec.wordvectors")
        wv = KeyedVectors.load("word2vec.wordvectors", mmap="r")
        answer["vectors"] = wv["computer"].shape, bool((wv["computer"] == model.wv["computer"]).all())
        wv.save_word2vec_format("vectors.bin", binary=True)
        again = KeyedVectors.load_word2vec_format("vectors.bin", binary=True)
        answer["again"] = again.index_to_key == wv.index_to_key, bool((again["trees"] == wv["trees"]).all())
        del model
    """,
    "hierarchical softmax": """
        model = Word2Vec(common_texts, vector_size=20, min_count=1, workers=1, hs=1, negative=0, sample=0)
        answer["syn1"] = model.syn1.shape[1]
        answer["scores"] = model.score([["human", "interface"], ["trees"]], total_sentences=2).shape
        answer["no syn1neg"] = hasattr(model, "syn1neg")
    """,
    "more words later": """
        model = Word2Vec(vector_size=20, min_count=1, workers=1, sample=0)
        model.build_vocab(common_texts)
        model.train(common_texts, total_examples=model.corpus_count, epochs=model.epochs)
        old = list(model.wv.index_to_key)
        more = [["human", "learning"], ["learning", "machine", "graph"]]
        model.build_vocab(more, update=True)
        answer["corpus"] = model.corpus_count, model.corpus_total_words
        model.train(more, total_examples=model.corpus_count, epochs=model.epochs)
        answer["old"] = model.wv.index_to_key[: len(old)] == old
        answer["new"] = sorted(model.wv.index_to_key[len(old):])
        answer["counts"] = {word: model.wv.get_vecattr(word, "count") for word in sorted(model.wv.index_to_key)}
        answer["shapes"] = model.wv.vectors.shape, model.syn1neg.shape
    """,
    "choose words": """
        def rule(word, count, min_count):
            if word == "survey":
                return RULE_KEEP
            return RULE_DISCARD if word == "system" else RULE_DEFAULT

        model = Word2Vec(min_count=3, max_vocab_size=10000, sorted_vocab=1)
        model.build_vocab(common_texts, trim_rule=rule, keep_raw_vocab=True)
        answer["words"] = sorted(model.wv.index_to_key)
        answer["raw"] = dict(model.raw_vocab)
        model = Word2Vec(min_count=1, max_final_vocab=6)
        model.build_vocab(common_texts)
        answer["at most"] = sorted(model.wv.index_to_key)
        model = Word2Vec(min_count=2)
        model.build_vocab_from_freq({"a": 5, "b": 1, "c": 2}, corpus_count=7)
        answer["from counts"] = model.wv.index_to_key, model.corpus_count
        model = Word2Vec(min_count=1, sample=0.05)
        answer["scan"] = model.scan_vocab(common_texts)
        report = model.prepare_vocab(dry_run=True, min_count=2)
        answer["report"] = {name: value for name, value in report.items() if name != "memory"}
        answer["estimate"] = set(model.estimate_memory(1000)) - {"vocab"}
    """,
    "files": """
        with open("text.txt", "w") as file:
            file.writelines(" ".join(text) + "\\n" for text in common_texts)
        os.mkdir("texts")
        for name in ("b", "a"):
            shutil.copy("text.txt", f"texts/{name}.txt")
        for sentences in (LineSentence("text.txt"), PathLineSentences("texts"), Text8Corpus("text.txt")):
            model = Word2Vec(sentences, vector_size=20, min_count=2, workers=1, sample=0)
            name = type(sentences).__name__
            answer[name] = list(sentences), model.corpus_count, model.corpus_total_words, sorted(model.wv.index_to_key)
        model = Word2Vec(corpus_file="text.txt", vector_size=20, min_count=2, workers=1, sample=0)
        answer["corpus_file"] = sorted(model.wv.index_to_key), model.corpus_total_words
    """,
    "callbacks": """
        class EpochLogger(CallbackAny2Vec):
            def __init__(self):
                self.epoch = 0
                self.events = []

            def on_train_begin(self, model):
                self.events.append("begin")

            def on_epoch_begin(self, model):
                self.events.append(f"epoch {self.epoch}")

            def on_epoch_end(self, model):
                self.events.append(model.get_latest_training_loss() > 0)
                self.epoch += 1

            def on_train_end(self, model):
                self.events.append("end")

        logger = EpochLogger()
        options = dict(min_count=1, vector_size=8, epochs=2, workers=1, sample=0)
        Word2Vec(common_texts, **options, compute_loss=True, callbacks=[logger])
        answer["events"] = logger.events
        logger = EpochLogger()
        model = Word2Vec(**options)
        model.build_vocab(common_texts)
        model.train(common_texts, total_examples=9, epochs=1, compute_loss=True, callbacks=[logger])
        answer["events of train"] = logger.events
    """,
    "start from other vectors": """
        with open("pretrained.txt", "w") as file:
            file.write("3 4\\ncomputer 1 2 3 4\\nunheard 1 1 1 1\\ntrees 0 0 1 0\\n")
        model = Word2Vec(vector_size=4, min_count=1, workers=1, sample=0)
        model.build_vocab(common_texts)
        model.wv.vectors_lockf = np.ones(len(model.wv), dtype=np.float32)
        model.wv.intersect_word2vec_format("pretrained.txt", lockf=0.0)
        rows = [model.wv.key_to_index[word] for word in sorted(model.wv.index_to_key)]
        answer["lockf"] = [float(model.wv.vectors_lockf[row]) for row in rows]
        model.train(common_texts, total_examples=model.corpus_count, epochs=5)
        answer["frozen"] = model.wv["computer"].tolist(), model.wv["trees"].tolist(), "unheard" in model.wv
    """,
    "predict": """
        model = Word2Vec(common_texts, vector_size=20, min_count=1, workers=1, epochs=3, sample=0)
        found = model.predict_output_word(["human", "interface"], topn=3)
        answer["words"] = len(found), round(float(sum(p for _, p in model.predict_output_word(["human"], topn=100))), 4)
        answer["unknown"] = model.predict_output_word(["elephant"])
    """,
    "fasttext": """
        options = dict(vector_size=20, window=3, min_count=1, min_n=3, max_n=4, bucket=100, workers=1, sample=0)
        model = FastText(sentences=common_texts, epochs=3, **options)
        answer["known"] = "computer" in model.wv.key_to_index, "computation" in model.wv.key_to_index
        answer["unknown"] = model.wv["computation"].shape, "computation" in model.wv
        answer["similar"] = len(model.wv.most_similar("nights", topn=4))
        model = FastText(**options)
        model.build_vocab(corpus_iterable=common_texts)
        model.train(corpus_iterable=common_texts, total_examples=len(common_texts), epochs=2)
        model.build_vocab([["new", "sentence"]], update=True)
        model.train([["new", "sentence"]], total_examples=1, epochs=2)
        answer["words"] = sorted(model.wv.index_to_key)
        model.save("fasttext.model")
        again = FastText.load("fasttext.model")
        answer["again"] = bool(np.allclose(again.wv["sentences"], model.wv["sentences"]))
    """,
    "keyed vectors": """
        table = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
        wv = KeyedVectors(vector_size=4)
        wv.add_vectors(["king", "queen", "man", "woman", "cat", "dog"], table)
        wv["emperor"] = table[0] + np.float32(0.1)
        rounded = lambda pairs: [(word, round(float(value), 4)) for word, value in pairs]
        answer["analogy"] = rounded(wv.most_similar(positive=["woman", "king"], negative=["man"], topn=3))
        answer["cosmul"] = rounded(wv.most_similar_cosmul(positive=["woman", "king"], negative=["man"], topn=3))
        answer["odd one"] = wv.doesnt_match(["king", "queen", "cat"])
        answer["pair"] = round(float(wv.similarity("king", "emperor")), 4), round(float(wv.distance("cat", "dog")), 4)
        answer["rank"] = wv.rank("king", "queen"), wv.closer_than("king", "cat")
        answer["mean"] = wv.get_mean_vector(["king", "cat"]).round(4).tolist()
        answer["sets"] = round(float(wv.n_similarity(["king", "queen"], ["cat", "dog"])), 4)
        answer["norm"] = wv.get_vector("dog", norm=True).round(4).tolist()
        answer["by word"] = rounded(wv.similar_by_word("cat", topn=2))
        answer["by vector"] = rounded(wv.similar_by_vector(wv["dog"], topn=2))
        wv.save_word2vec_format("vectors.txt")
        again = KeyedVectors.load_word2vec_format("vectors.txt", binary=False)
        with open("vectors.txt") as file:
            answer["file"] = again.index_to_key, file.readline()
    """,
    "phrases": """
        text = [["new", "york", "is", "large"], ["she", "likes", "new", "york"], ["bank", "of", "america"]] * 5
        model = Phrases(text, min_count=1, threshold=1, connector_words=ENGLISH_CONNECTOR_WORDS)
        answer["joined"] = model[["in", "new", "york", "the", "bank", "of", "america"]]
        answer["stream"] = list(model[text[:3]])
        found = model.export_phrases()
        answer["scores"] = {phrase: round(score, 3) for phrase, score in sorted(found.items())}
        frozen = model.freeze()
        answer["frozen"] = frozen[["new", "york"]]
        answer["phraser"] = Phraser(model)[["new", "york", "new"]]
        bigram = Phrases(text, min_count=1, threshold=0.1, scoring="npmi", delimiter="-")
        answer["npmi"] = bigram[["new", "york"]]
        trained = Word2Vec(frozen[text], vector_size=8, min_count=1, workers=1, sample=0)
        answer["trained"] = sorted(trained.wv.index_to_key)
    """,
    "other model": """
        first = Word2Vec(vector_size=20, min_count=1)
        first.build_vocab(common_texts)
        second = Word2Vec(vector_size=20, min_count=1)
        second.reset_from(first)
        answer["same"] = second.wv.index_to_key == first.wv.index_to_key, second.corpus_count
        first.wv.sort_by_descending_frequency()
        answer["sorted"] = [first.wv.get_vecattr(word, "count") for word in first.wv.index_to_key]
    """,
}


def run(imports, script, folder, monkeypatch):
    """Run a script in an empty folder and return what it put into `answer`."""
    from gensim.test.utils import common_texts

    folder.mkdir()
    monkeypatch.chdir(folder)
    names = {"common_texts": [list(text) for text in common_texts], "answer": {}, "np": np}
    exec("import os, shutil\n" + textwrap.dedent(imports) + textwrap.dedent(script), names)
    return names["answer"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_with_other_imports(name, tmp_path, monkeypatch):
    pytest.importorskip("gensim.models", reason="gensim is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gensim's own
        theirs = run(GENSIM, SCRIPTS[name], tmp_path / "gensim", monkeypatch)
    ours = run(FASTEMB, SCRIPTS[name], tmp_path / "fastemb", monkeypatch)
    assert ours == theirs and ours


PAGE = Path(__file__).parent.parent / "docs" / "guide" / "migration.md"


@pytest.mark.parametrize("line", sorted(set(re.findall(r"`fastemb (\w[^`]*)`", PAGE.read_text(encoding="utf-8")))))
def test_commands_of_the_page_have_these_options(line):
    """Every command and option that the page names is there."""
    import typer

    from fastemb.cli.app import app

    name, *words = shlex.split(line)
    command = typer.main.get_command(app).commands[name]
    if hasattr(command, "commands"):  # such as classify
        command = command.commands[words[0]]
    known = {option for parameter in command.params for option in [*parameter.opts, *parameter.secondary_opts]}
    assert {word for word in words if word.startswith("-")} <= known
