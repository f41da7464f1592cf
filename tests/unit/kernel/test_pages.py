"""Where the bytes of a struct page are."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from xcapscript.kernel import pages
from xcapscript.kernel.pages import Place, flags_of

ZONES = """\
Node 0, zone      DMA
  pages free     2816
        spanned  4095
        present  3998
  start_pfn:           1
Node 0, zone   Normal
  pages free     0
        spanned  1000
  start_pfn:           4096
Node 0, zone   Device
  pages free     0
        spanned  0
Node 1, zone   Normal
        spanned  512
        present  512
  start_pfn:           8192
"""


def test_of_a_struct_page_a_shift_and_a_sum_make_an_address() -> None:
    # x86-64 without KASLR: vmemmap_base, page_offset_base, and 64 bytes for each 4096
    vmemmap, linear = 0xFFFFEA0000000000, 0xFFFF888000000000
    place = Place(6, (linear - (vmemmap << 6)) % (1 << 64))
    for number in (0, 1, 0x1234567):
        assert place.address(vmemmap + 64 * number) == linear + 4096 * number
    assert place.address(place.page(linear + (5 << 12))) == linear + (5 << 12)
    assert flags_of(place) == ["-DXCAP_PAGES=1", "-DXCAP_PAGES_SHIFT=6", f"-DXCAP_PAGES_BASE={place.base:#x}ULL"]
    assert flags_of(None) == []


def test_memory_reaches_as_far_as_the_last_zone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "zoneinfo").write_text(ZONES)
    monkeypatch.setattr(pages, "ZONES", tmp_path / "zoneinfo")
    assert pages._span() == (8192 + 512) * mmap.PAGESIZE


def test_all_places_are_tried_that_there_can_be() -> None:
    task, page, gigabyte = 0xFFFF888105800000, 0xFFFFEA0004567000, 1 << 30
    found = [place.address(page) for place in pages._places(page, 6, task, 4 * gigabyte)]
    assert len(found) == len(set(found)) in (8, 9)
    assert {address % gigabyte for address in found} == {(page << 6) % gigabyte}
    assert min(found) <= task - 3 * gigabyte
    assert max(found) >= task + 3 * gigabyte
    assert list(pages._places(page, 6, task, 1 << 50)) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may ask")
def test_without_rights_nothing_is_found() -> None:
    assert pages.place_of_pages() is None
