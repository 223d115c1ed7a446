import Diagnostics
import WireText

/// How many wrong passphrases were given in a row for a state folder, and when the next one is looked at.
///
/// File `passphrase-tries` beside the device key: a heading, then the count and the moment of the last try in milliseconds. A
/// try is counted before it is checked, so that ending the process spares nobody a count; the right passphrase removes the
/// file. Four tries are free, then the wait doubles from 5 s to 15 minutes. This holds somebody at this device who goes
/// through `hds`; who copies the folder, or can write in it, is held by scrypt alone. Used under `state.lock`.
struct UnlockTries: Equatable {
    var count = 0
    var last = Timestamp(milliseconds: 0)

    static let free = 4
    static let longest: Int64 = 15 * 60 * 1000
    private static let heading = "hds-passphrase-tries 1"

    static func path(in folder: String) -> String { folder + "/passphrase-tries" }

    /// Milliseconds between the last try and the next.
    var wait: Int64 {
        guard count >= Self.free else { return 0 }
        return min(Self.longest, 5000 << Int64(min(count - Self.free, 10)))
    }

    /// Counts a try at `now` in the folder, or refuses it while the wait lasts.
    static func begin(in folder: String, now: Timestamp) throws {
        var tries = try read(folder)
        if now < tries.last {
            // The clock was set back: the wait begins anew rather than never to end.
            tries.last = now
            try tries.write(folder)
        }
        let next = tries.last.adding(milliseconds: tries.wait)
        guard tries.count < free || !(now < next) else {
            let seconds = (next.milliseconds - now.milliseconds + 999) / 1000
            throw DiagnosedError(
                .passphraseTooSoon, fault: .client,
                "\(tries.count) wrong passphrases in a row: no other is looked at yet",
                expected: "the next try in \(seconds) s or later", hint: "wait, then try again")
        }
        try UnlockTries(count: min(tries.count, 1_000_000) + 1, last: now).write(folder)
    }

    /// The right passphrase was given.
    static func succeed(in folder: String) throws {
        if try SafeFile.read(path(in: folder), maximumBytes: 256) != nil { try SafeFile.remove(path(in: folder)) }
    }

    /// A file that is damaged counts as one with the longest wait from now on, not as none.
    static func read(_ folder: String) throws -> UnlockTries {
        guard let bytes = try SafeFile.read(path(in: folder), maximumBytes: 256) else { return UnlockTries() }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
        let words = lines.count == 2 ? lines[1].split(separator: " ") : []
        guard lines.first.map(String.init) == heading, words.count == 2, let count = Int(words[0]), count >= 0,
            let last = Int64(words[1])
        else { return UnlockTries(count: 1000, last: Timestamp(milliseconds: .max)) }
        return UnlockTries(count: count, last: Timestamp(milliseconds: last))
    }

    private func write(_ folder: String) throws {
        try SafeFile.replace(
            Self.path(in: folder), with: Array("\(Self.heading)\n\(count) \(last.milliseconds)\n".utf8))
    }
}
