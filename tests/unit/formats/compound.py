"""A writer of OLE compound files, as small as it can be: sectors of 512 bytes, children as a chain to the right."""

import struct

END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD
CUTOFF = 4096


def _entry(name, kind, right, child, start, size):
    raw = name.encode("utf-16-le")
    return (raw.ljust(64, b"\0") + struct.pack("<HBB3I", len(raw) + 2 if name else 0, kind, 1, FREE, right, child)
            + bytes(16) + bytes(20) + struct.pack("<IQ", start, size))  # fmt: skip


def compound(streams):
    """The bytes of a file with these streams, by path with slashes."""
    tree = {}
    for path, data in streams.items():
        *folders, name = path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = data
    sectors, table, mini, mini_table = [], [], b"", []

    def put(data):
        start = len(sectors)
        pieces = [data[at : at + 512].ljust(512, b"\0") for at in range(0, len(data), 512)]
        sectors.extend(pieces)
        table.extend([*range(start + 1, start + len(pieces)), END])
        return start

    entries = [["Root Entry", 5, FREE, FREE, END, 0]]

    def add(node):
        """Entries of a storage's children; the number of the first."""
        nonlocal mini
        first, before = FREE, None
        for name, content in node.items():
            number = len(entries)
            entries.append([name, 1 if isinstance(content, dict) else 2, FREE, FREE, 0, 0])
            if before is None:
                first = number
            else:
                entries[before][2] = number
            before = number
            if isinstance(content, dict):
                entries[number][3] = add(content)
            elif len(content) >= CUTOFF:
                entries[number][4:] = [put(content), len(content)]
            elif content:
                start = len(mini_table)
                count = -(-len(content) // 64)
                mini_table.extend([*range(start + 1, start + count), END])
                mini += content.ljust(64 * count, b"\0")
                entries[number][4:] = [start, len(content)]
            else:
                entries[number][4:] = [END, 0]
        return first

    entries[0][3] = add(tree)
    if mini:
        entries[0][4:] = [put(mini), len(mini)]
    raw = struct.pack(f"<{len(mini_table)}I", *mini_table)
    mini_start = put(raw.ljust(-(-len(raw) // 512) * 512, b"\xff")) if raw else END
    directory = put(b"".join(_entry(*one) for one in entries))
    fat_sectors = 1
    while (len(sectors) + fat_sectors) * 4 > fat_sectors * 512:
        fat_sectors += 1
    first_fat = len(sectors)
    table.extend([FAT] * fat_sectors)
    fat = struct.pack(f"<{len(table)}I", *table).ljust(fat_sectors * 512, b"\xff")
    places = [*range(first_fat, first_fat + fat_sectors)]
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack("<HHHHH6xIIIIIIIII", 0x3E, 3, 0xFFFE, 9, 6, 0, fat_sectors, directory, 0, CUTOFF, mini_start,
                        -(-len(raw) // 512), END, 0)  # fmt: skip
    head += struct.pack("<109I", *places, *[FREE] * (109 - len(places)))
    return head.ljust(512, b"\0") + b"".join(sectors) + fat
