/// What in an invitation asks for join details.
package struct Trigger: Sendable, Hashable {
    package enum Kind: String, Sendable { case keyword, videoAddress }
    package enum Action: String, Sendable {
        /// A space of the meeting, with its details.
        case space
        /// The personal room of the organizer.
        case personalRoom
        /// The address that is written there is the room.
        case givenAddress
    }

    package let kind: Kind
    package let action: Action
    /// The address that was found.
    package let address: String?

    package init(_ kind: Kind, _ action: Action, address: String? = nil) {
        self.kind = kind
        self.action = action
        self.address = address
    }
}

/// The keywords and video addresses that the connector answers to.
///
/// A keyword stands in the LOCATION, alone between what is no part of a word or an address, in any case of letters, and
/// may have a modifier behind a colon: `@meet`, `Room 4; @Meet:myroom`, never `bob@webex.com`. A video address is a
/// `https:`, `sip:` or `sips:` address of a supported host or of one below it, in LOCATION or DESCRIPTION. Keywords
/// go before addresses, the first keyword before the others.
package struct Keywords: Sendable, Hashable {
    private let actions: [String: Trigger.Action]
    private let modifiers: [String: Trigger.Action]
    private let videoHosts: [String]

    /// - Parameter actions: by keyword, each beginning with `@`.
    package init(
        _ actions: [String: Trigger.Action] = ["@webex": .personalRoom, "@meet": .space],
        modifiers: [String: Trigger.Action] = ["space": .space, "myroom": .personalRoom], videoHosts: [String] = []
    ) {
        self.actions = Dictionary(
            actions.map { ($0.key.lowercased(), $0.value) }, uniquingKeysWith: { first, _ in first })
        self.modifiers = Dictionary(
            modifiers.map { ($0.key.lowercased(), $0.value) }, uniquingKeysWith: { first, _ in first })
        self.videoHosts = videoHosts.map { $0.lowercased() }
    }

    /// - Parameter notes: without what the connector wrote itself.
    package func trigger(location: String?, notes: String?) -> Trigger? {
        if let location, let action = keyword(in: location) { return Trigger(.keyword, action) }
        guard !videoHosts.isEmpty else { return nil }
        for text in [location, notes] {
            if let address = text.flatMap(videoAddress) {
                return Trigger(.videoAddress, .givenAddress, address: address)
            }
        }
        return nil
    }

    private func keyword(in location: String) -> Trigger.Action? {
        let text = Array(location.lowercased().prefix(4096))
        for place in text.indices where text[place] == "@" && (place == 0 || !Self.isOfAddress(text[place - 1])) {
            let word = text[place...].dropFirst().prefix { $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" }
            let behind = text[word.endIndex...]
            guard let action = actions["@" + String(word)], !Self.goesOn(behind) else { continue }
            guard behind.first == ":" else { return action }
            let modifier = behind.dropFirst().prefix { $0.isLetter || $0.isNumber }
            return modifiers[String(modifier)] ?? action
        }
        return nil
    }

    /// Whether what is behind a word makes it part of an address: `.com`, `@host`.
    private static func goesOn(_ behind: ArraySlice<Character>) -> Bool {
        switch behind.first {
        case "@", "/", "%", "+": true
        case ".": behind.dropFirst().first.map { $0.isLetter || $0.isNumber } ?? false
        default: false
        }
    }

    private static func isOfAddress(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || "._%+-@/='\"!#$&*?^`{|}~".contains(character)
    }

    private func videoAddress(in text: String) -> String? {
        let words = text.prefix(65_536).split { $0.isWhitespace || "<>\"(),;[]{}".contains($0) }
        for word in words {
            let small = word.lowercased()
            let host: Substring
            if small.hasPrefix("https://") {
                let authority = small.dropFirst(8).prefix { !"/?#\\".contains($0) }
                // What stands before an `@` is no host: it is there to deceive.
                guard !authority.contains("@") else { continue }
                host = authority.prefix { $0 != ":" }
            } else if small.hasPrefix("sip:") || small.hasPrefix("sips:") {
                guard let at = small.lastIndex(of: "@") else { continue }
                host = small[small.index(after: at)...].prefix { !":;?/".contains($0) }
            } else {
                continue
            }
            let name = host.hasSuffix(".") ? host.dropLast() : host
            if videoHosts.contains(where: { name == $0 || name.hasSuffix("." + $0) }) { return String(word) }
        }
        return nil
    }
}
