/// toNFKC_Casefold of Unicode 15.0 (section 3.13, R5, as NFKC_CF): compatibility and case folded away, NFC.
package enum CaseFolding {
    package static func fold(_ points: some Collection<UInt32>) -> [UInt32] {
        let tables = UnicodeTables.frozen
        // U+0345 becomes a letter: what stands behind it has to be in its place before (section 3.13, D145).
        if points.contains(where: { $0 >= 0x300 && tables.combiningClass[$0] != 0 }) {
            return mapped(composed(Array(points)), tables)
        }
        return mapped(points, tables)
    }

    private static func mapped(_ points: some Collection<UInt32>, _ tables: UnicodeTables) -> [UInt32] {
        var folded: [UInt32] = []
        var isSimple = true
        for point in points {
            let place = tables.fold[point]
            if place == 0 {
                folded.append(point)
                if point >= 0x300 { isSimple = false }
            } else if place > 1 {
                let start = Int(place) - 1
                let image = tables.images[(start + 1)...(start + Int(tables.images[start]))]
                folded.append(contentsOf: image)
                if image.contains(where: { $0 >= 0x300 }) { isSimple = false }
            }
        }
        // Below U+0300 nothing combines.
        return isSimple ? folded : composed(folded)
    }

    /// Normalization Form C.
    package static func composed(_ points: [UInt32]) -> [UInt32] {
        let tables = UnicodeTables.frozen
        var all: [UInt32] = []
        all.reserveCapacity(points.count)
        for point in points { decompose(point, into: &all) }
        reorder(&all)
        var result: [UInt32] = []
        result.reserveCapacity(all.count)
        var starter: Int?
        var lastClass: UInt8 = 0
        for point in all {
            let combining = tables.combiningClass[point]
            if let starter, lastClass == 0 ? result.count == starter + 1 : lastClass < combining,
                let composite = Self.composite(result[starter], point)
            {
                result[starter] = composite
                continue
            }
            if combining == 0 { starter = result.count }
            lastClass = combining
            result.append(point)
        }
        return result
    }

    private enum Hangul {
        static let base: UInt32 = 0xAC00
        static let count: UInt32 = 11172
        static let leading: UInt32 = 0x1100
        static let vowel: UInt32 = 0x1161
        static let trailing: UInt32 = 0x11A7
    }

    private static func decompose(_ point: UInt32, into all: inout [UInt32]) {
        if point < 0xC0 {
            all.append(point)
        } else if point &- Hangul.base < Hangul.count {
            let index = point - Hangul.base
            all.append(Hangul.leading + index / 588)
            all.append(Hangul.vowel + index % 588 / 28)
            if index % 28 != 0 { all.append(Hangul.trailing + index % 28) }
        } else if let parts = UnicodeTables.frozen.decomposition(of: point) {
            all.append(contentsOf: parts)
        } else {
            all.append(point)
        }
    }

    /// Canonical ordering: stable, by combining class, within what follows a starter.
    private static func reorder(_ points: inout [UInt32]) {
        let tables = UnicodeTables.frozen
        for index in points.indices.dropFirst() {
            let own = tables.combiningClass[points[index]]
            guard own != 0 else { continue }
            var place = index
            while place > 0, tables.combiningClass[points[place - 1]] > own {
                points.swapAt(place, place - 1)
                place -= 1
            }
        }
    }

    private static func composite(_ first: UInt32, _ second: UInt32) -> UInt32? {
        if first &- Hangul.leading < 19, second &- Hangul.vowel < 21 {
            return Hangul.base + (first - Hangul.leading) * 588 + (second - Hangul.vowel) * 28
        }
        if first &- Hangul.base < Hangul.count, (first - Hangul.base) % 28 == 0, second &- Hangul.trailing < 28,
            second != Hangul.trailing
        {
            return first + second - Hangul.trailing
        }
        return UnicodeTables.frozen.composite(first, second)
    }
}
