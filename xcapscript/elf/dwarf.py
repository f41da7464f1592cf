"""Where the members of a program's structs are, as its debugging information has them.

Source: https://dwarfstd.org, DWARF 5, sections 5.7 and 7.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from elftools.dwarf.die import DIE

from xcapscript.elf.binary import Binary

TEXTS = (".debug_str", ".debug_info")


def member_offsets(binary: Binary, struct: str, members: Collection[str]) -> Mapping[str, int] | None:
    """The offsets in bytes of these members; None where the program does not tell all. Raises NotReadable."""
    # Python takes seconds to go through a large program: most have no such struct, and their strings tell
    texts = [section[1] for name in TEXTS if (section := binary.section(name)) is not None]
    if not any(f"{struct}\0".encode() in text for text in texts):
        return None
    with binary.reading("debugging information") as file:
        for unit in file.get_dwarf_info(follow_links=False).iter_CUs():
            for entry in unit.get_top_DIE().iter_children():
                if entry.tag != "DW_TAG_structure_type" or "DW_AT_declaration" in entry.attributes:
                    continue
                if _name(entry) == struct:
                    found = dict(_members(entry, 0, 0))
                    if found.keys() >= set(members):
                        return {name: found[name] for name in members}
    return None


def _members(entry: DIE, base: int, depth: int) -> Iterator[tuple[str, int]]:
    """Those of a struct, and of the structs and unions without a name within it."""
    for child in entry.iter_children():
        if child.tag != "DW_TAG_member":
            continue
        place = child.attributes.get("DW_AT_data_member_location")
        at = base + (place.value if place is not None and isinstance(place.value, int) else 0)
        if name := _name(child):
            yield name, at
        elif depth < 8:
            yield from _members(child.get_DIE_from_attribute("DW_AT_type"), at, depth + 1)


def _name(entry: DIE) -> str:
    found = entry.attributes.get("DW_AT_name")
    return "" if found is None else bytes(found.value).decode("utf-8", "replace")
