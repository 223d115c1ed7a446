import WireText

/// Texts that have the form of what clients send; nothing in them is encrypted to anybody.
enum TestTexts {
    static let key = "kms://kms.acme.example.com/keys/31f0a1b2-0000-4000-8000-0123456789ab"
    static let otherKey = "kms://kms.acme.example.com/keys/31f0a1b2-0000-4000-8000-0123456789ac"
    static let resource = "kms://kms.acme.example.com/resources/41f0a1b2-0000-4000-8000-0123456789ab"

    /// A compact JWE in form, whose ciphertext part is the text in clear, to find it again.
    static func content(_ text: String) -> String {
        let header = Base64URL.encode(Array(#"{"alg":"dir","enc":"A256GCM"}"#.utf8))
        let iv = Base64URL.encode([UInt8](repeating: 1, count: 12))
        let tag = Base64URL.encode([UInt8](repeating: 2, count: 16))
        return "\(header)..\(iv).\(Base64URL.encode(Array(text.utf8))).\(tag)"
    }

    static func conversation(with participants: [String] = [], tempID: String? = nil) -> String {
        """
        {"displayName":"\(content("name"))","encryptionKeyUrl":"\(key)","kmsMessage":"create resource",\
        "participants":[\(participants.map { "\"\($0)\"" }.joined(separator: ","))]\
        \(tempID.map { ",\"clientTempId\":\"\($0)\"" } ?? "")}
        """
    }

    static func post(_ text: String, tempID: String? = nil) -> String {
        """
        {"verb":"post","object":{"objectType":"comment","displayName":"\(content(text))"},"encryptionKeyUrl":"\(key)"\
        \(tempID.map { ",\"clientTempId\":\"\($0)\"" } ?? "")}
        """
    }

    static func share(_ url: String) -> String {
        """
        {"verb":"share","encryptionKeyUrl":"\(key)","object":{"objectType":"content","files":[{\
        "displayName":"\(content("file"))","fileSize":3,"url":"\(url)","scr":"\(content("scr"))"}]}}
        """
    }

    static func member(_ verb: String, _ id: String, message: String? = "member step") -> String {
        """
        {"verb":"\(verb)","object":{"objectType":"person","id":"\(id)"}\
        \(message.map { ",\"kmsMessage\":\"\($0)\"" } ?? "")}
        """
    }

    static func updateKey(_ url: String = otherKey, message: String = "bind key") -> String {
        #"{"verb":"updateKey","object":{},"encryptionKeyUrl":"\#(url)","kmsMessage":"\#(message)"}"#
    }
}
