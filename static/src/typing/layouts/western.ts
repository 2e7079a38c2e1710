// Layouts of German, French, Dutch and Italian: keys as X.Org's xkeyboard-config has them (symbols/de, fr, be, ch,
// ca, nl, it), and what Windows does otherwise (Microsoft's kbdgr, kbdfr, kbdbe, kbdsg, kbdsf, kbdca, kbdne, kbdit).

import type { Table } from "../table";

export const WESTERN: readonly Table[] = [
  {
    id: "de",
    name: "German",
    keys: `
◌^° 1! 2" 3§ 4$ 5% 6& 7/ 8( 9) 0= ß? ◌´◌\`
qQ wW eE rR tT zZ uU iI oO pP üÜ +*
aA sS dD fF gG hH jJ kK lL öÖ äÄ #'
<> yY xX cC vV bB nN mM ,; .: -_`,
    windows: "2² 3³ 7{ 8[ 9] 0} ß\\ q@ e€ +~ <| mµ",
    other: "◌^␀ 4¼¤ e€€ +~¯ s␀ ö␀ #’ <| y»› x«‹ ,·× .…÷ -–—",
    latin: true,
    undead: true,
  },
  {
    id: "ch-de",
    name: "Swiss (German)",
    keys: `
§° 1+ 2" 3* 4ç 5% 6& 7/ 8( 9) 0= '? ◌^◌\`
qQ wW eE rR tT zZ uU iI oO pP üè ◌¨!
aA sS dD fF gG hH jJ kK lL öé äà $£
<> yY xX cC vV bB nN mM ,; .: -_`,
    windows: "1¦ 2@ 3# 6¬ 7| 8¢ '◌´ ◌^◌~ e€ ü[ ◌¨] ä{ $} <\\",
    other: "1|¡ 2@⅛ 3#£ 7|⅞ 8¢™ '◌´¿ ◌^◌~ e€ oœŒ ü[ ◌¨] ä{ $} <\\¦",
    latin: true,
  },
  {
    id: "ch-fr",
    name: "Swiss (French)",
    keys: `
§° 1+ 2" 3* 4ç 5% 6& 7/ 8( 9) 0= '? ◌^◌\`
qQ wW eE rR tT zZ uU iI oO pP èü ◌¨!
aA sS dD fF gG hH jJ kK lL éö àä $£
<> yY xX cC vV bB nN mM ,; .: -_`,
    windows: "1¦ 2@ 3# 6¬ 7| 8¢ '◌´ ◌^◌~ e€ è[ ◌¨] à{ $} <\\",
    other: "1|¡ 2@⅛ 3#£ 7|⅞ 8¢™ '◌´¿ ◌^◌~ e€ oœŒ è[ ◌¨] à{ $} <\\¦",
    latin: true,
  },
  {
    id: "fr",
    name: "French",
    // ² gives ~ with Shift in XKB alone; AltGr gives it on all Linux systems
    keys: `
² &1 é2 "3 '4 (5 -6 è7 _8 ç9 à0 )° =+
aA zZ eE rR tT yY uU iI oO pP ◌^◌¨ $£
qQ sS dD fF gG hH jJ kK lL mM ù% *µ
<> wW xX cC vV bB nN ,? ;. :/ !§`,
    windows: "é◌~ \"# '{ ([ -| è◌` _\\ ç^ à@ )] =} e€ $¤",
    other: "é~⅛ \"#£ '{$ ([⅜ -|⅝ è`⅞ _\\™ ç^± à@° )]¿ =} aæÆ z«< $¤ q@Ω mµº w␀ ,◌´",
    latin: true,
    undead: true,
  },
  {
    id: "be",
    name: "Belgian",
    keys: `
²³ &1 é2 "3 '4 (5 §6 è7 !8 ç9 à0 )° -_
aA zZ eE rR tT yY uU iI oO pP ◌^◌¨ $*
qQ sS dD fF gG hH jJ kK lL mM ù% µ£
<> wW xX cC vV bB nN ,? ;. :/ =+`,
    windows: '&| é@ "# §^ ç{ à} e€ ◌^[ $] ù◌´ µ◌` <\\ =◌~',
    other: '&|¡ é@⅛ "#£ §^⅝ ç{± z␀ oœŒ ◌^[ $] ù◌´ <\\\\ ,◌¸º =◌~',
    latin: true,
  },
  {
    id: "ca-fr",
    name: "Canadian French",
    keys: `
#| 1! 2" 3/ 4$ 5% 6? 7& 8* 9( 0) -_ =+
qQ wW eE rR tT yY uU iI oO pP ◌^◌^ ◌¸◌¨
aA sS dD fF gG hH jJ kK lL ;: ◌\`◌\` <>
«» zZ xX cC vV bB nN mM ,' .. éÉ`,
    windows: "#\\ 1± 2@ 3£ 4¢ 5¤ 6¬ 7¦ 8² 9³ 0¼ -½ =¾ o§ p¶ ◌^[ ◌¸] ;~ ◌`{ <} «° mµ ,¯ é◌´",
    other: "#\\ 1± 2@ 3£ 4¢ 5¤ 6¬ 7¦ 8² 9³ 0¼ -½ =¾ o§ p¶ ◌^[ ◌¸] ;~ ◌`{ <} «° mµ ,¯ é◌´",
  },
  {
    id: "nl",
    name: "Dutch",
    keys: `
@§ 1! 2" 3# 4$ 5% 6& 7_ 8( 9) 0' /? °◌~
qQ wW eE rR tT yY uU iI oO pP ◌¨◌^ *|
aA sS dD fF gG hH jJ kK lL +± ◌´◌\` <>
][ zZ xX cC vV bB nN mM ,; .: -=`,
    windows: "@¬ 1¹ 2² 3³ 4¼ 5½ 6¾ 7£ 8{ 9} /\\ °◌¸ e€ r¶ sß ]¦ z« x» c¢ mµ .·",
    other:
      "6¾⅝ 7£⅞ 8{[ 9}] 0°™ tþÞ yÿ¥ uüÜ iïÏ oòÒ p¶Þ ◌¨~^ *◌~ aáÁ fªª ◌´'` v“‘ b”’ nñÑ m␀ ,¸« .·»",
    latin: true,
  },
  {
    id: "it",
    name: "Italian",
    keys: `
\\| 1! 2" 3£ 4$ 5% 6& 7/ 8( 9) 0= '? ì^
qQ wW eE rR tT yY uU iI oO pP èé +*
aA sS dD fF gG hH jJ kK lL òç à° ù§
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "5€ e€ è[{ +]} ò@ à#",
    other: "\\¬¦ 2² 3³◌~ 4¼⅛ 0} '`¿ ì~◌^ è[{ +]} ò@◌¸ à# ù␀ <«» v“‘ b”’ nñÑ ,◌´× .·◌¨ -␀÷",
    latin: true,
  },
];
