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
    package let components: [Component]

    /// Reads an object with exactly one VCALENDAR.
    /// - Throws: `calendar-malformed`.
    package init(parsing octets: [UInt8]) throws(DiagnosedError) {
        guard octets.count <= Self.largestSize else {
            throw .malformed(line: 1, expected: "at most \(Self.largestSize) octets")
        }
        pieces = try Self.pieces(of: octets)
        components = try Self.components(of: pieces)
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

    package func property(_ name: String, of component: Component) -> ContentLine? {
        properties(of: component).first { $0.name == name.uppercased() }
    }

    /// Puts a property in the place of the first of its name, or after the component's last property when there is none.
    ///
    /// A property that says the same already is left as it is folded, so a second pass changes no octet.
    /// - Throws: `calendar-edit-refused`.
    package mutating func put(
        _ name: String, _ parameters: [ContentLine.Parameter] = [], value: String, in component: Component
    ) throws(DiagnosedError) {
        guard !["BEGIN", "END"].contains(name.uppercased()) else {
            throw .refused("edit would change the components", expected: "the name of a property")
        }
        let places = places(of: component)
        guard let head = places.head, case .line(let begin) = pieces[head] else {
            throw .refused("component is not of this document", expected: "one of its components")
        }
        let end: [UInt8] = begin.octets.suffix(2) == [13, 10] ? [13, 10] : [10]
        let line = try ContentLine(name, parameters, value: value, end: end)
        let old = places.own.first { place in
            if case .line(let line) = pieces[place] { line.name == name.uppercased() } else { false }
        }
        if let old, case .line(let present) = pieces[old] {
            guard ContentLine.unfolded(present.octets) != ContentLine.unfolded(line.octets) else { return }
            pieces[old] = .line(line)
        } else {
            pieces.insert(.line(line), at: (places.own.last ?? head) + 1)
        }
    }

    /// Takes every property of a name out of a component.
    package mutating func remove(_ name: String, from component: Component) {
        for place in places(of: component).own.reversed() {
            if case .line(let line) = pieces[place], line.name == name.uppercased() { pieces.remove(at: place) }
        }
    }

    /// Where the BEGIN of a component and its own properties stand among the pieces.
    private func places(of component: Component) -> (head: Int?, own: [Int]) {
        var head: Int?
        var own: [Int] = []
        var open: [Int] = []
        var ordinal = 0
        for (place, piece) in pieces.enumerated() {
            guard case .line(let line) = piece else { continue }
            switch line.name {
            case "BEGIN":
                if ordinal == component.ordinal { head = place }
                open.append(ordinal)
                ordinal += 1
            case "END":
                if open.popLast() == component.ordinal { return (head, own) }
            default:
                if open.last == component.ordinal { own.append(place) }
            }
        }
        return (head, own)
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
