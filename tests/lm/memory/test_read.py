"""Addresses and reading against plain forms, gathered row by row."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from explicitlm.lm.memory.bank import MemoryBank
from explicitlm.lm.memory.index import RowIndex
from explicitlm.lm.memory.paper.product_keys import ProductKeyRouter
from explicitlm.lm.memory.read import TokenReader
from explicitlm.lm.memory.router import ContentRouter, Router
from explicitlm.lm.memory.rows import RowEncoder, Swaps, addresses, open_rows

VOCAB, LENGTH, DIM, PAD = 40, 6, 16, 0


def make_bank() -> MemoryBank:
    bank = MemoryBank(9, LENGTH, VOCAB, PAD, 0.0)
    bank.load(torch.randint(1, VOCAB, (9, LENGTH)))
    bank.entries_NL[2, 3:] = PAD
    bank.hold_facts(torch.tensor([1, 2, 3]), torch.tensor([[2, 4], [1, 3], [0, LENGTH]]))
    return bank


def test_an_address_is_made_of_all_words_but_the_object() -> None:
    bank, keys = make_bank(), torch.randn(VOCAB, 8)
    got = addresses(keys, bank, torch.arange(9))
    for row in range(9):
        tokens = bank.read(torch.tensor(row)).tolist()
        a, b = bank.object_N2[row].tolist()
        asked = [t for place, t in enumerate(tokens) if t != PAD and not a <= place < b]
        asked = asked or [t for t in tokens if t != PAD]  # row 3 is all object
        torch.testing.assert_close(got[row], F.normalize(keys[asked].sum(0), dim=0))


def test_addresses_with_gradient_are_those_of_the_index() -> None:
    bank, encoder = make_bank(), RowEncoder(DIM, 8, LENGTH)
    value = torch.randn(VOCAB, DIM, requires_grad=True)
    summed = encoder.addresses(value, bank, torch.arange(9))
    projected = addresses(encoder.keys(value), bank, torch.arange(9))
    torch.testing.assert_close(summed, projected)
    weight = torch.randn_like(summed)
    for ours, plain in zip(
        torch.autograd.grad((summed * weight).sum(), [value, encoder.key_proj.weight]),
        torch.autograd.grad((projected * weight).sum(), [value, encoder.key_proj.weight]),
        strict=True,
    ):
        torch.testing.assert_close(ours, plain)


def test_another_object_does_not_move_a_row_and_another_subject_does() -> None:
    bank, keys = make_bank(), torch.randn(VOCAB, 8)
    row = torch.tensor([1])
    before = addresses(keys, bank, row)
    bank.entries_NL[1, 2:4] = 7
    assert torch.equal(addresses(keys, bank, row), before)
    bank.entries_NL[1, 0] += 1
    assert not torch.equal(addresses(keys, bank, row), before)


def test_reading_equals_the_plain_form_in_value_and_gradient() -> None:
    bank, encoder, reader = make_bank(), RowEncoder(DIM, 8, LENGTH), TokenReader(DIM)
    torch.nn.init.normal_(encoder.place_embedding)
    row, embedding = torch.tensor([1, 2, 8, 2]), torch.randn(VOCAB, DIM, requires_grad=True)
    query = torch.randn(4, DIM, requires_grad=True)
    ids = bank.read(row)[:, 1].long()  # the token before place 2
    read, weight = reader(query, ids, open_rows(bank, row.view(2, 2)), encoder(embedding), encoder.place_embedding, PAD)
    value = F.normalize(embedding, dim=-1) * DIM**0.5
    expected = []
    for t in range(4):
        tokens = [int(token) for token in bank.read(row[t]) if token != PAD]
        a = int(bank.object_N2[row[t], 0])
        scores = [query.new_zeros(())]
        for place, token in enumerate(tokens):
            side = encoder.token_proj(value[token]) + encoder.place_embedding[place - a + LENGTH]
            bonus = reader.copy_bonus * float(place > 0 and tokens[place - 1] == int(ids[t]))
            scores.append(reader.query_proj(query[t]) @ side / 8 + bonus)
        share = torch.stack(scores).softmax(0)[1:]
        torch.testing.assert_close(weight[t, : len(tokens)], share.detach())
        expected.append(share @ value[tokens])
    plain = torch.stack(expected)
    torch.testing.assert_close(read, plain, atol=1e-5, rtol=1e-4)
    inputs = [embedding, query, *reader.parameters(), *encoder.parameters()]
    weights = torch.randn(4, DIM)
    ours = torch.autograd.grad((read * weights).sum(), inputs, allow_unused=True, retain_graph=True)
    theirs = torch.autograd.grad((plain * weights).sum(), inputs, allow_unused=True)
    for got, wanted in zip(ours, theirs, strict=True):
        if wanted is not None:
            torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-4)


def test_a_row_says_something_else_to_one_sequence_only() -> None:
    bank, row_BS = make_bank(), torch.tensor([[1, 2], [1, 8]])
    other_ML = torch.full((2, LENGTH), 7)
    before, page = (
        open_rows(bank, row_BS),
        open_rows(bank, row_BS, Swaps(torch.tensor([9 * 0 + 1, 9 * 1 + 8]), other_ML)),
    )
    assert torch.equal(page.token_TL[[0, 3]], other_ML) and torch.equal(page.token_TL[1:3], before.token_TL[1:3])
    assert torch.equal(page.place_TL, before.place_TL)


def test_contrast_finds_the_row_among_its_sequence_s_and_random_ones_and_no_label_is_no_loss() -> None:
    router = ContentRouter(DIM, 8, RowIndex(16, 8), 4)
    keys, rows = F.normalize(torch.randn(5, 8), dim=-1).requires_grad_(), torch.tensor([1, 3, 4, 9, 12])
    random = torch.tensor([False, True, False, False, True])
    address = F.normalize(torch.randn(6, 8), dim=-1).requires_grad_()
    loss = router.contrast(address, torch.tensor([[9, -1, 1], [-1, 4, -1]]), keys, rows, random)
    logits = 10 * address @ keys.T
    first = F.cross_entropy(logits[[0, 2]][:, [0, 1, 3, 4]], torch.tensor([2, 0]), reduction="sum")
    second = F.cross_entropy(logits[[4]][:, [1, 2, 4]], torch.tensor([1]))
    torch.testing.assert_close(loss, (first + second) / 3)
    none = router.contrast(address, torch.full((2, 3), -1), keys, rows, random)
    none.backward()
    assert address.grad is not None and keys.grad is not None
    assert none == 0 and router.log_sharpness.grad is not None and not address.grad.any() and not keys.grad.any()


def test_both_routers_keep_the_protocol() -> None:
    for router in (ContentRouter(DIM, 8, RowIndex(16, 8), 4).eval(), ProductKeyRouter(DIM, 16, 8, 4)):
        assert isinstance(router, Router)
        found = router(torch.randn(3, DIM))
        assert found.index_TC.shape == found.score_TC.shape == (3, 4)
        before = [parameter.clone() for parameter in router.parameters()]
        router.reset_parameters()
        assert any(not torch.equal(a, b) for a, b in zip(before, router.parameters(), strict=True))
