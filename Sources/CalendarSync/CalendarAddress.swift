/// The address of somebody in a calendar, made comparable: case, `mailto:`, percent escapes and punycode make no difference.
package struct CalendarAddress: Sendable, Hashable, CustomStringConvertible {
    /// The mailbox, its domain in Unicode.
    package let text: String

    /// - Parameter value: of ORGANIZER or ATTENDEE, or a mailbox.
    package init(_ value: String) {
        var mailbox = value.lowercased()[...]
        if mailbox.hasPrefix("mailto:") {
            mailbox = Self.percentDecoded(mailbox.dropFirst(7)).lowercased()[...]
        }
        guard let at = mailbox.lastIndex(of: "@") else {
            text = String(mailbox)
            return
        }
        let domain = mailbox[mailbox.index(after: at)...].split(separator: ".", omittingEmptySubsequences: false)
            .map { label in
                label.hasPrefix("xn--") ? Punycode.decode(label.dropFirst(4)) ?? String(label) : String(label)
            }
        text = mailbox[...at] + domain.joined(separator: ".")
    }

    package var description: String { text }

    private static func percentDecoded(_ text: Substring) -> String {
        guard text.utf8.contains(UInt8(ascii: "%")) else { return String(text) }
        var octets: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let first = rest.popFirst() {
            if first == UInt8(ascii: "%"), rest.count >= 2,
                let octet = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16), rest.first != 43
            {
                octets.append(octet)
                rest = rest.dropFirst(2)
            } else {
                octets.append(first)
            }
        }
        return String(decoding: octets, as: UTF8.self)
    }
}

/// The Unicode form of labels of domains (RFC 3492).
enum Punycode {
    /// Nil for a label that is none, and for one longer than a label may be.
    static func decode(_ label: Substring) -> String? {
        let octets = Array(label.utf8)
        guard octets.count <= 63 else { return nil }
        let delimiter = octets.lastIndex(of: UInt8(ascii: "-"))
        var output: [Unicode.Scalar] = octets[..<(delimiter ?? 0)].map { Unicode.Scalar($0) }
        guard output.allSatisfy(\.isASCII) else { return nil }
        var rest = octets[(delimiter.map { $0 + 1 } ?? 0)...]
        var (code, index, bias) = (128, 0, 72)
        while !rest.isEmpty {
            let before = index
            var (weight, k) = (1, 36)
            while true {
                guard let digit = rest.popFirst().flatMap(digit) else { return nil }
                index += digit * weight
                let threshold = k <= bias ? 1 : k >= bias + 26 ? 26 : k - bias
                if digit < threshold { break }
                weight *= 36 - threshold
                k += 36
                guard index < 1 << 40, weight < 1 << 40 else { return nil }
            }
            let count = output.count + 1
            bias = adapted(index - before, count, isFirst: before == 0)
            code += index / count
            index %= count
            guard code <= 0x10_FFFF, let scalar = Unicode.Scalar(UInt32(code)) else { return nil }
            output.insert(scalar, at: index)
            index += 1
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: output)
        return String(view)
    }

    private static func digit(_ octet: UInt8) -> Int? {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(octet) - 97
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(octet) - 22
        default: nil
        }
    }

    private static func adapted(_ delta: Int, _ count: Int, isFirst: Bool) -> Int {
        var delta = isFirst ? delta / 700 : delta / 2
        delta += delta / count
        var k = 0
        while delta > 455 {
            delta /= 35
            k += 36
        }
        return k + 36 * delta / (delta + 38)
    }
}
