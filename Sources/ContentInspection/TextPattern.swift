package import Diagnostics
internal import Glibc

/// A POSIX extended regular expression over the octets of a text, without case for ASCII. Back references are refused: without them
/// glibc matches in time that grows with the text and not beyond.
///
/// Any thread: matching changes nothing in the compiled expression, and glibc locks it.
@safe
package final class TextPattern: @unchecked Sendable {  // `compiled` is never changed, and glibc locks it
    // Compiled in `init`, freed in `deinit`, not changed between: that is why it may be shared.
    private let compiled: UnsafeMutablePointer<regex_t>

    package init(_ pattern: String) throws(DiagnosedError) {
        guard !pattern.isEmpty, pattern.utf8.count <= 1000, !pattern.utf8.contains(0) else {
            throw Self.refused("a pattern of 1 to 1,000 octets", "\(pattern.utf8.count) octets")
        }
        var isEscaped = false
        for octet in pattern.utf8 {
            if isEscaped, (0x31...0x39).contains(octet) { throw Self.refused("no back references", "a back reference") }
            isEscaped = octet == UInt8(ascii: "\\") && !isEscaped
        }
        let made = UnsafeMutablePointer<regex_t>.allocate(capacity: 1)
        let code = unsafe regcomp(made, pattern, REG_EXTENDED | REG_ICASE)
        guard code == 0 else {
            var text = [CChar](repeating: 0, count: 200)
            _ = unsafe regerror(code, made, &text, text.count)
            unsafe made.deallocate()
            let reason = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
            throw Self.refused("a POSIX extended regular expression", String(decoding: reason, as: UTF8.self))
        }
        unsafe compiled = made
    }

    deinit {
        unsafe regfree(compiled)
        unsafe compiled.deallocate()
    }

    /// Matches, one behind the other; at most 1,000. Octets of zero end nothing: they are read as blanks.
    package func count(in text: String) -> Int {
        let octets = text.utf8.map { $0 == 0 ? 0x20 : CChar(bitPattern: $0) } + [0]
        var count = 0, place = 0
        unsafe octets.withUnsafeBufferPointer { octets in
            guard let base = octets.baseAddress else { return }
            var match = regmatch_t()
            while place < octets.count - 1, count < 1000 {
                let flags = place == 0 ? 0 : REG_NOTBOL
                guard unsafe regexec(compiled, base + place, 1, &match, flags) == 0 else { return }
                count += 1
                place += max(1, Int(match.rm_eo))
            }
        }
        return count
    }

    private static func refused(_ expected: String, _ found: String) -> DiagnosedError {
        DiagnosedError(
            .inspectionPattern, fault: .configuration, "the pattern can not be used", expected: expected, found: found)
    }
}
