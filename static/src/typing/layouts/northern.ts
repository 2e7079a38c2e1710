// Layouts of the Nordic languages: keys as X.Org's xkeyboard-config has them (symbols/dk, no, se, is), and what
// Windows does otherwise (Microsoft's kbdda, kbdno, kbdsw, kbdic).

import type { Table } from "../table";

export const NORTHERN: readonly Table[] = [
  {
    id: "dk",
    name: "Danish",
    keys: `
½§ 1! 2" 3# 4¤ 5% 6& 7/ 8( 9) 0= +? ◌´◌\`
qQ wW eE rR tT yY uU iI oO pP åÅ ◌¨◌^
aA sS dD fF gG hH jJ kK lL æÆ øØ '*
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "2@ 3£ 4$ 5€ 7{ 8[ 9] 0} ◌´| e€ ◌¨◌~ <\\ mµ",
    other: "½¾¶ 1¡¹ 2@² 3£³ 4$¼ 5½¢ 6¥⅝ 7{÷ 8[« 9]» +±¿ ◌´|¦ r® tþÞ oœŒ ◌¨◌~ aªº '␀× <\\¬ c© ,◌¸ .·",
    latin: true,
  },
  {
    id: "no",
    name: "Norwegian",
    keys: `
|§ 1! 2" 3# 4¤ 5% 6& 7/ 8( 9) 0= +? \\◌\`
qQ wW eE rR tT yY uU iI oO pP åÅ ◌¨◌^
aA sS dD fF gG hH jJ kK lL øØ æÆ '*
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "2@ 3£ 4$ 5€ 7{ 8[ 9] 0} \\◌´ e€ ◌¨◌~ mµ",
    other: "|¦¶ 1¡¹ 2@² 3£³ 4$¼ 5½‰ 6¥⅝ 7{÷ 8[« 9]» +±¿ \\◌´¬ r®™ tþÞ oœŒ pπΠ ◌¨◌~ aªº '␀× <½¾ c© ,◌¸ .…· -–—",
    latin: true,
  },
  {
    id: "se-fi",
    name: "Swedish, Finnish",
    keys: `
§½ 1! 2" 3# 4¤ 5% 6& 7/ 8( 9) 0= +? ◌´◌\`
qQ wW eE rR tT yY uU iI oO pP åÅ ◌¨◌^
aA sS dD fF gG hH jJ kK lL öÖ äÄ '*
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "2@ 3£ 4$ 5€ 7{ 8[ 9] 0} +\\ e€ ◌¨◌~ <| mµ",
    // what the layouts "se" and "fi" have in common
    other: "2@ 3£ 4$ 7{ 8[ 9] 0} +\\ e€ ◌¨◌~ <|",
  },
  {
    id: "is",
    name: "Icelandic",
    keys: `
◌°◌¨ 1! 2" 3# 4$ 5% 6& 7/ 8( 9) 0= öÖ -_
qQ wW eE rR tT yY uU iI oO pP ðÐ '?
aA sS dD fF gG hH jJ kK lL æÆ ◌´ +*
<> zZ xX cC vV bB nN mM ,; .: þÞ`,
    windows: "◌°° 5€ 7{ 8[ 9] 0} ö\\ q@ e€ '~ ◌´◌^ +◌` <| mµ",
    other: "◌°¬ 4¼¤ p|π '~ d␀ æ^ ◌´◌^ +`",
    latin: true,
  },
];
