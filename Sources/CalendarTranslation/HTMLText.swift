/// The text of a description that a service keeps as HTML, and a change of the text that leaves the HTML around it.
///
/// Not a reader of HTML: tags go, `br` and the ends of blocks make lines, references become characters. Whatever it is given
/// gives some text in time that grows with its length. `replacing` changes only the stretch in which the new text differs.
package enum HTMLText {
    package static func plain(_ html: String) -> String { String(characters(html).map(\.character)) }

    /// HTML whose plain text is `text`. The tags outside the changed stretch keep their octets; when that can not be done,
    /// the whole is written anew.
    package static func replacing(_ html: String, by text: String) -> String {
        let old = characters(html)
        let new = text.replacing("\r\n", with: "\n").unicodeScalars.map { Character($0) }
        var head = 0
        while head < min(old.count, new.count), old[head].character == new[head] { head += 1 }
        var tail = 0
        while tail < min(old.count, new.count) - head,
            old[old.count - 1 - tail].character == new[new.count - 1 - tail]
        { tail += 1 }
        let octets = Array(html.utf8)
        // Into the tags around what goes, or behind what stays before it.
        var begin =
            head < old.count - tail && !old[head].isTag
            ? old[head].range.lowerBound
            : head > 0 ? old[head - 1].range.upperBound : old.first?.range.lowerBound ?? bodyEnd(octets)
        if head == old.count - tail {
            // What is added to bold text is not bold.
            while begin < octets.count, octets[begin...].starts(with: [UInt8(ascii: "<"), UInt8(ascii: "/")]) {
                let end = tagEnd(octets, begin)
                guard !blocks.contains(tagName(octets[begin..<end]).name), tagName(octets[begin..<end]).name != "body",
                    tagName(octets[begin..<end]).name != "html"
                else { break }
                begin = end
            }
        }
        var result = Array(octets[..<begin])
        result += escaped(new[head..<(new.count - tail)])
        // Of the stretch that goes, the characters go and the tags stay: what they open is closed.
        var place = begin
        for character in old[head..<(old.count - tail)] where !character.isTag {
            guard character.range.lowerBound >= place else { continue }
            result += octets[place..<character.range.lowerBound]
            place = character.range.upperBound
        }
        result += octets[place...]
        let candidate = String(decoding: result, as: UTF8.self)
        let whole = document(text)
        return plain(candidate) == plain(whole) ? candidate : whole
    }

    package static func document(_ text: String) -> String {
        "<html><body>" + String(decoding: escaped(Array(text)[...]), as: UTF8.self) + "</body></html>"
    }

    // MARK: - Reading

    private struct Place {
        var character: Character
        /// In the octets of the HTML.
        var range: Range<Int>
        /// A line end that a tag makes.
        var isTag: Bool
    }

    private static let blocks: Set<String> = [
        "p", "div", "tr", "li", "ul", "ol", "table", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "hr",
    ]

    private static func characters(_ html: String) -> [Place] {
        let octets = Array(html.utf8)
        var places: [Place] = []
        var place = 0
        var hidden: String?
        var isSpace = false
        func atLineStart() -> Bool { places.last.map { $0.character == "\n" } ?? true }
        while place < octets.count {
            let octet = octets[place]
            if let hidden, octet != UInt8(ascii: "<") || tagName(octets[place...].prefix(16)) != (hidden, true) {
                place += 1
                continue
            }
            if octet == UInt8(ascii: "<") {
                let end = tagEnd(octets, place)
                let (name, isEnd) = tagName(octets[place..<end])
                if let waiting = hidden {
                    if isEnd, name == waiting { hidden = nil }
                } else if ["style", "script", "head", "title"].contains(name), !isEnd {
                    hidden = name
                } else if name == "br" || isEnd && blocks.contains(name)
                    || !isEnd && blocks.contains(name) && !atLineStart()
                {
                    // The last block's end, and the end of a block that is empty but for others, make one line.
                    if name == "br" || !isEnd || !atLineStart() {
                        while places.last?.character == " " { places.removeLast() }
                        places.append(Place(character: "\n", range: place..<end, isTag: true))
                    }
                    isSpace = false
                }
                place = end
                continue
            }
            let (character, end) = next(octets, place)
            defer { place = end }
            guard hidden == nil else { continue }
            if character == " " || character == "\n" || character == "\t" || character == "\r" || character == "\r\n" {
                if !isSpace, !atLineStart() { places.append(Place(character: " ", range: place..<end, isTag: false)) }
                isSpace = true
            } else {
                places.append(
                    Place(character: character == "\u{A0}" ? " " : character, range: place..<end, isTag: false))
                isSpace = false
            }
        }
        while let last = places.last, last.character == "\n" || last.character == " " { places.removeLast() }
        return places
    }

    private static func tagEnd(_ octets: [UInt8], _ start: Int) -> Int {
        if octets[start...].starts(with: Array("<!--".utf8)) {
            var place = start + 4
            while place < octets.count {
                if octets[place] == UInt8(ascii: ">"), octets[place - 1] == UInt8(ascii: "-") { return place + 1 }
                place += 1
            }
            return octets.count
        }
        return octets[start...].firstIndex(of: UInt8(ascii: ">")).map { $0 + 1 } ?? octets.count
    }

    private static func tagName(_ tag: ArraySlice<UInt8>) -> (name: String, isEnd: Bool) {
        var rest = tag.dropFirst()
        let isEnd = rest.first == UInt8(ascii: "/")
        if isEnd { rest = rest.dropFirst() }
        let name = rest.prefix { 48...57 ~= $0 || 97...122 ~= $0 | 32 }
        return (String(decoding: name, as: UTF8.self).lowercased(), isEnd)
    }

    private static let references: [String: Character] = [
        "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "nbsp": "\u{A0}",
    ]

    private static func next(_ octets: [UInt8], _ start: Int) -> (Character, Int) {
        if octets[start] == UInt8(ascii: "&"),
            let end = octets[start...].prefix(12).firstIndex(of: UInt8(ascii: ";"))
        {
            let name = String(decoding: octets[(start + 1)..<end], as: UTF8.self)
            if let known = references[name] { return (known, end + 1) }
            let number =
                name.hasPrefix("#x") || name.hasPrefix("#X")
                ? UInt32(name.dropFirst(2), radix: 16) : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
            if let scalar = number.flatMap(UnicodeScalar.init), scalar.value >= 32 {
                return (Character(scalar), end + 1)
            }
        }
        // One whole scalar; characters of several are put together nowhere, so both sides of a comparison see the same.
        var end = start + 1
        while end < octets.count, octets[end] & 0xC0 == 0x80 { end += 1 }
        return (String(decoding: octets[start..<end], as: UTF8.self).first ?? " ", end)
    }

    private static func bodyEnd(_ octets: [UInt8]) -> Int {
        octets.lastIndex { $0 == UInt8(ascii: "<") }.flatMap { last in
            let lower = String(decoding: octets, as: UTF8.self).lowercased()
            guard lower.utf8.count == octets.count, let range = lower.ranges(of: "</body").last else { return nil }
            return min(last, lower.utf8.distance(from: lower.startIndex, to: range.lowerBound))
        } ?? octets.count
    }

    private static func escaped(_ text: ArraySlice<Character>) -> [UInt8] {
        var result = ""
        var isSpace = true
        for character in text {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\n", "\r\n", "\r": result += "<br>"
            case " " where isSpace: result += "&nbsp;"
            default: result.append(character)
            }
            isSpace = character == " " || character == "\n"
        }
        return Array(result.utf8)
    }
}
