from infra.sandbox.omni.questions import CUES, all_texts, cue_question, waver_questions
from tasks.prompting.prompt import prompt_names


def test_only_the_questions_about_cues_have_answers_to_learn() -> None:
    assert [cue_question(cue, quotes_words=False).cue for cue in CUES] == list(CUES)
    questions = waver_questions()
    assert len(questions) == len(prompt_names())
    assert {question.cue for question in questions} == {None}


def test_a_cue_question_quotes_the_words_only_on_request() -> None:
    with_words, without = (cue_question("face", quotes_words=quotes) for quotes in (True, False))
    assert with_words.template.startswith(without.template)
    assert "{transcript}" in with_words.template
    assert "{transcript}" not in without.template


def test_the_texts_for_the_tokenizer_have_no_unfilled_fields() -> None:
    texts = list(all_texts())
    assert {"Yes", "No"} <= set(texts)
    assert not any("{transcript" in text or "{media" in text for text in texts)
