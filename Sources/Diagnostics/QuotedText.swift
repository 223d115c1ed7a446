extension String {
    /// A text of the sender as it may stand in an error: short, and free of what disturbs a log.
    package var quotedForError: String {
        let text = String(
            decoding: utf8.prefix(40).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
        return utf8.count > 40 ? "'\(text)…'" : "'\(text)'"
    }
}
