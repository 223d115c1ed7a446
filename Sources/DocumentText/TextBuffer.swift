/// The text of a document as it is found, up to a limit of octets, with single spaces and line ends.
package struct TextBuffer: ~Copyable {
    package private(set) var octets: [UInt8] = []
    /// Something was left out because the limit was reached.
    package private(set) var isCut = false
    private let limit: Int

    package init(limit: Int) {
        self.limit = limit
    }

    package var isFull: Bool { isCut }

    package mutating func append(_ more: some Collection<UInt8>) {
        guard !isCut else { return }
        let room = limit - octets.count
        if more.count <= room {
            octets.append(contentsOf: more)
            return
        }
        isCut = true
        octets.append(contentsOf: more.prefix(room))
        // Never in the middle of a character.
        while let last = octets.last, last & 0xC0 == 0x80 { octets.removeLast() }
        if let last = octets.last, last >= 0xC0 { octets.removeLast() }
    }

    package mutating func space() {
        if let last = octets.last, last != 0x20, last != 0x0A { append(CollectionOfOne(0x20)) }
    }

    package mutating func line() {
        if let last = octets.last, last != 0x0A { append(CollectionOfOne(0x0A)) }
    }
}
