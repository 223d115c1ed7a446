package import Diagnostics

/// Join details inside a DESCRIPTION, between marker lines, so that they are replaced and never appended twice.
///
/// Works on the escaped value, so that the user's own text keeps every octet, also the escapes it was written with.
package enum JoinNotes {
    /// Without a character that TEXT escapes: servers write values anew, and would escape it.
    static let begin = "-=-=- join details of the calendar connector -=-=-"
    static let mostBlocks = 100
    static let largestSize = 1 << 18
    static let end = "-=-=- end of join details -=-=-"

    /// The escaped value with these details in the place of those that were there, or after the user's text.
    /// - Parameter details: unescaped; nil takes them out.
    /// - Throws: `calendar-edit-refused` for details with a marker inside, and for a value with more markers than any
    ///   honest hand leaves there: taking each out would take long.
    package static func put(_ details: String?, into value: String) throws(DiagnosedError) -> String {
        if let details, details.contains(begin) || details.contains(end) {
            throw .refused("join details refused", expected: "details without the marker lines")
        }
        guard value.utf8.count <= largestSize || !value.contains(end) else {
            throw .refused("text with markers refused", expected: "at most \(largestSize) octets")
        }
        guard value.ranges(of: end).count <= mostBlocks else {
            throw .refused("text with markers refused", expected: "at most \(mostBlocks) of them")
        }
        var own = value
        var place: String.Index?
        while let block = block(in: own) {
            // Every other block goes, too, also one that the removal made; the details keep the first place.
            let distance = own.unicodeScalars.distance(
                from: own.startIndex, to: min(place ?? block.lowerBound, block.lowerBound))
            own.unicodeScalars.removeSubrange(block)
            place = own.unicodeScalars.index(own.startIndex, offsetBy: distance)
        }
        guard let details else { return own }
        let block = "\\n\(begin)\\n\(CalendarText.escape(details))\\n\(end)"
        own.unicodeScalars.insert(contentsOf: block.unicodeScalars, at: place ?? own.endIndex)
        return own
    }

    /// From the line end before the first whole block to its end. A marker without its partner is the user's text.
    private static func block(in value: String) -> Range<String.Index>? {
        var from = value.startIndex
        while let last = value[from...].firstRange(of: end) {
            if let first = value[from..<last.lowerBound].ranges(of: begin).last {
                return lineEnd(before: first.lowerBound, in: value)..<last.upperBound
            }
            from = last.upperBound
        }
        return nil
    }

    /// Where an escaped line end before this place begins. `\\n` is a backslash and a letter, no line end.
    private static func lineEnd(before place: String.Index, in value: String) -> String.Index {
        let before = value.unicodeScalars[..<place]
        guard before.last == "n" || before.last == "N" else { return place }
        let slashes = before.dropLast().reversed().prefix { $0 == "\\" }.count
        return slashes.isMultiple(of: 2) ? place : before.index(place, offsetBy: -2)
    }
}
