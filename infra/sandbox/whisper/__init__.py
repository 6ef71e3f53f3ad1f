"""Trains, from nothing, the tiny Whisper that transcribes the sandbox's voices.

Order of reading: vocabulary (one token a word), bank (utterances), windows (30 s pieces that look
like use), batches (targets), model (network and losses), train (the command), export (CTranslate2).
"""
