package import Diagnostics

/// A lossless iCalendar object (RFC 5545): what is not edited prints as it was read, octet for octet.
///
/// Folds, unknown properties, the order of parameters, VALARM, VTIMEZONE, blank lines and the kind of line end are kept,
/// because an edit replaces the lines of one property and nothing else.
package struct CalendarDocument: Sendable, Equatable {
    /// A component by its place among all BEGIN lines. Edits of properties add no component, so it stays valid.
    package struct Component: Sendable, Hashable {
        package let ordinal: Int
        /// In capitals, such as `VEVENT`.
        package let name: String
        /// The component around it; nil for the VCALENDAR.
        package let parent: Int?
    }

    package static let largestSize = 8 << 20
    package static let mostLines = 200_000
    package static let deepest = 8

    private enum Piece: Sendable, Equatable {
        case line(ContentLine)
        case blank([UInt8])
    }

    private var pieces: [Piece]
    /// Where the BEGIN of each component stands among the pieces.
    private var heads: [Int]
    package let components: [Component]

    /// Reads an object with exactly one VCALENDAR.
    /// - Throws: `calendar-malformed`.
    package init(parsing octets: [UInt8]) throws(DiagnosedError) {
        guard octets.count <= Self.largestSize else {
            throw .malformed(line: 1, expected: "at most \(Self.largestSize) octets")
        }
        pieces = try Self.pieces(of: octets)
        components = try Self.components(of: pieces)
        heads = Self.heads(of: pieces)
    }

    /// The object as it is written to the calendar server.
    package var octets: [UInt8] {
        var octets: [UInt8] = []
        for piece in pieces {
            switch piece {
            case .line(let line): octets += line.octets
            case .blank(let blank): octets += blank
            }
        }
        return octets
    }

    /// The properties of a component itself, not those of the components in it, in their order.
    package func properties(of component: Component) -> [ContentLine] {
        places(of: component).own.compactMap { place in
            if case .line(let line) = pieces[place] { line } else { nil }
        }
    }

    /// The properties of every component, by ordinal: what reads a whole object walks it once.
    package func allProperties() -> [[ContentLine]] {
        var all = [[ContentLine]](repeating: [], count: components.count)
        var open: [Int] = []
        var ordinal = 0
        for piece in pieces {
            guard case .line(let line) = piece else { continue }
            switch line.name {
            case "BEGIN":
                open.append(ordinal)
                ordinal += 1
            case "END": open.removeLast()
            default: if let inner = open.last { all[inner].append(line) }
            }
        }
        return all
    }

    package func property(_ name: String, of component: Component) -> ContentLine? {
        properties(of: component).first { $0.name == name.uppercased() }
    }

    /// Puts a property in the place of the first of its name that is meant, or after the component's last property.
    ///
    /// A property that says the same already is left as it is folded, so a second pass changes no octet. Others of the
    /// name stay as they are.
    /// - Parameter isMeant: which of several properties of the name is the one to replace.
    /// - Throws: `calendar-edit-refused`.
    package mutating func put(
        _ name: String, _ parameters: [ContentLine.Parameter] = [], value: String, in component: Component,
        replacing isMeant: (ContentLine) -> Bool = { _ in true }
    ) throws(DiagnosedError) {
        let end = try lineEnd(of: component, for: name)
        let line = try ContentLine(name, parameters, value: value, end: end)
        let places = places(of: component)
        if let old = places.own.first(where: { self.line(at: $0, named: name, isMeant) != nil }) {
            replace(old, by: line)
        } else {
            insert(line, at: (places.own.last ?? places.head ?? 0) + 1)
        }
    }

    /// Gives the first property of a name another value; its parameters keep their octets.
    /// - Returns: false when the component has no such property, and nothing is done.
    /// - Throws: `calendar-edit-refused`, also for a property whose octets are no UTF-8: they would be lost.
    package mutating func putValue(
        _ value: String, ofFirst name: String, in component: Component
    ) throws(DiagnosedError) -> Bool {
        let end = try lineEnd(of: component, for: name)
        guard let old = places(of: component).own.first(where: { line(at: $0, named: name) != nil }),
            let present = line(at: old, named: name)
        else { return false }
        replace(old, by: try present.withValue(value, end: end))
        return true
    }

    /// Takes every property of a name that is meant out of a component.
    package mutating func remove(
        _ name: String, from component: Component, where isMeant: (ContentLine) -> Bool = { _ in true }
    ) {
        for place in places(of: component).own.reversed() where line(at: place, named: name, isMeant) != nil {
            remove(at: place)
        }
    }

    /// Adds a copy of a component, with the components in it, as the last of the VCALENDAR.
    ///
    /// No component gets another ordinal by it.
    /// - Parameter edit: what stands in the place of each property of the component itself; none takes it out.
    /// - Throws: `calendar-edit-refused`, `calendar-malformed` when the object would be beyond its bounds.
    package mutating func appendCopy(
        of component: Component, edit: (ContentLine) throws(DiagnosedError) -> [ContentLine]
    ) throws(DiagnosedError) -> Component {
        let places = places(of: component)
        guard component.parent == 0, let head = places.head, let last = places.end,
            let close = pieces.lastIndex(where: { if case .line(let line) = $0 { line.name == "END" } else { false } })
        else { throw .refused("component can not be copied", expected: "a component directly in the VCALENDAR") }
        let own = Set(places.own)
        var copy: [Piece] = []
        for place in head...last {
            if own.contains(place), case .line(let line) = pieces[place] {
                copy += try edit(line).map(Piece.line)
            } else {
                copy.append(pieces[place])
            }
        }
        var edited = pieces
        edited.insert(contentsOf: copy, at: close)
        let all = try Self.components(of: edited)
        let added = CalendarDocument(pieces: edited, components: all)
        guard added.octets.count <= Self.largestSize else {
            throw .refused("component can not be copied", expected: "an object of at most \(Self.largestSize) octets")
        }
        self = added
        guard let made = all.last(where: { $0.parent == 0 }) else {
            throw .refused("component can not be copied", expected: "a component directly in the VCALENDAR")
        }
        return made
    }

    private init(pieces: [Piece], components: [Component]) {
        self.pieces = pieces
        self.components = components
        heads = Self.heads(of: pieces)
    }

    private static func heads(of pieces: [Piece]) -> [Int] {
        pieces.indices.filter { if case .line(let line) = pieces[$0] { line.name == "BEGIN" } else { false } }
    }

    /// Puts a line before a place, or takes the one at a place out.
    private mutating func insert(_ line: ContentLine, at place: Int) {
        pieces.insert(.line(line), at: place)
        for index in heads.indices where heads[index] >= place { heads[index] += 1 }
    }

    private mutating func remove(at place: Int) {
        pieces.remove(at: place)
        for index in heads.indices where heads[index] > place { heads[index] -= 1 }
    }

    private func lineEnd(of component: Component, for name: String) throws(DiagnosedError) -> [UInt8] {
        guard !["BEGIN", "END"].contains(name.uppercased()) else {
            throw .refused("edit would change the components", expected: "the name of a property")
        }
        guard let head = places(of: component).head, case .line(let begin) = pieces[head] else {
            throw .refused("component is not of this document", expected: "one of its components")
        }
        return begin.octets.suffix(2) == [13, 10] ? [13, 10] : [10]
    }

    private func line(
        at place: Int, named name: String, _ isMeant: (ContentLine) -> Bool = { _ in true }
    ) -> ContentLine? {
        guard case .line(let line) = pieces[place], line.name == name.uppercased(), isMeant(line) else { return nil }
        return line
    }

    private mutating func replace(_ place: Int, by line: ContentLine) {
        guard case .line(let present) = pieces[place], !Self.saySame(present, line) else { return }
        pieces[place] = .line(line)
    }

    /// Servers write lines anew: with parameters in another order, quotes and escapes where none are needed. A property
    /// that differs in that only would be written again in each pass, for ever.
    private static func saySame(_ one: ContentLine, _ other: ContentLine) -> Bool {
        let isSorted = { (left: ContentLine.Parameter, right: ContentLine.Parameter) in left.name < right.name }
        return one.name == other.name && one.parameters.sorted(by: isSorted) == other.parameters.sorted(by: isSorted)
            && (one.value == other.value || CalendarText.unescape(one.value) == CalendarText.unescape(other.value))
    }

    /// Where the BEGIN of a component and its own properties stand among the pieces.
    private func places(of component: Component) -> (head: Int?, own: [Int], end: Int?) {
        guard heads.indices.contains(component.ordinal) else { return (nil, [], nil) }
        let head = heads[component.ordinal]
        var own: [Int] = []
        var depth = 0
        for place in head..<pieces.count {
            guard case .line(let line) = pieces[place] else { continue }
            switch line.name {
            case "BEGIN": depth += 1
            case "END":
                depth -= 1
                if depth == 0 { return (head, own, place) }
            default: if depth == 1 { own.append(place) }
            }
        }
        return (head, own, nil)
    }

    private static func pieces(of octets: [UInt8]) throws(DiagnosedError) -> [Piece] {
        var pieces: [Piece] = []
        var number = 0
        var start = 0
        while start < octets.count {
            number += 1
            guard number <= mostLines else { throw .malformed(line: number, expected: "at most \(mostLines) lines") }
            let first = number
            var end = lineEnd(in: octets, from: start)
            let physical = octets[start..<end]
            if physical == [10] || physical == [13, 10] {
                pieces.append(.blank(Array(physical)))
            } else {
                while end < octets.count, octets[end] == 32 || octets[end] == 9 {
                    end = lineEnd(in: octets, from: end)
                    number += 1
                }
                pieces.append(.line(try ContentLine(reading: Array(octets[start..<end]), number: first)))
            }
            start = end
        }
        return pieces
    }

    private static func lineEnd(in octets: [UInt8], from start: Int) -> Int {
        (octets[start...].firstIndex(of: 10) ?? octets.count - 1) + 1
    }

    private static func components(of pieces: [Piece]) throws(DiagnosedError) -> [Component] {
        var components: [Component] = []
        var open: [Component] = []
        for (place, piece) in pieces.enumerated() {
            guard case .line(let line) = piece else { continue }
            switch line.name {
            case "BEGIN":
                let component = Component(
                    ordinal: components.count, name: line.value.uppercased(), parent: open.last?.ordinal)
                guard !open.isEmpty || components.isEmpty && component.name == "VCALENDAR", open.count < deepest else {
                    throw .malformed(line: place + 1, expected: "one VCALENDAR, at most \(deepest) components deep")
                }
                components.append(component)
                open.append(component)
            case "END":
                guard open.popLast()?.name == line.value.uppercased() else {
                    throw .malformed(line: place + 1, expected: "the END of the component that is open")
                }
            default:
                guard !open.isEmpty else { throw .malformed(line: place + 1, expected: "BEGIN:VCALENDAR") }
            }
        }
        guard open.isEmpty, !components.isEmpty else {
            throw .malformed(line: pieces.count, expected: "END:VCALENDAR at the end")
        }
        return components
    }
}
